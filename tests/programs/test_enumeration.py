"""Discrete latents summed exactly: against sums by hand and Pyro's own ``TraceEnum_ELBO``."""

from __future__ import annotations

import math
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import TraceEnum_ELBO, config_enumerate
from torch import Tensor, nn

from pyrovae import Autoencoder, InferenceSpec
from pyrovae.compute.capture import Captured
from pyrovae.data.arrays import from_arrays
from pyrovae.errors import SpecError
from pyrovae.evaluation.bound import evaluate
from pyrovae.evaluation.local import LocalPosterior
from pyrovae.evaluation.pointwise import evaluate_pointwise
from pyrovae.objectives import (
    EnumeratedELBO,
    FreeBitsELBO,
    Objective,
    RenyiBound,
    SampledELBO,
    build_objective,
)
from pyrovae.objectives.terms import ELBOTerms
from pyrovae.programs.autoencoder import Formulas
from pyrovae.programs.densities import densities
from pyrovae.programs.enumeration import enumerated
from pyrovae.programs.traces import Traces
from pyrovae.specs.computation import Computation
from pyrovae.specs.objectives import ELBOSpec
from pyrovae.training.loop import Training

EXACT = {"rtol": 1e-10, "atol": 1e-10}
CLASSES, DIMS, COLUMNS, BATCH, REPEATS = 3, 2, 4, 5, 2


class Parts(Autoencoder):
    """Networks for all programs below; each program is a pair of methods."""

    vectorisable = True

    def __init__(self) -> None:
        super().__init__()
        self.classes = nn.Linear(COLUMNS, CLASSES)
        self.encoder = nn.Linear(COLUMNS + CLASSES, DIMS)
        self.decoder = nn.Linear(DIMS + CLASSES, COLUMNS)
        self.weights = nn.Parameter(torch.randn(CLASSES))
        self.means = nn.Parameter(torch.randn(CLASSES, DIMS))
        self.double()

    def formulas(self) -> Formulas:
        return Formulas("p(z)", "p(x | z)", "q(z | x)")

    def prior(self) -> Any:
        return dist.Categorical(logits=self.weights)

    def one_hot(self, k: Tensor) -> Tensor:
        return torch.eye(CLASSES).to(self.weights)[k]

    def p_x(self, z: Tensor, k: Tensor) -> Any:
        known = self.one_hot(k)
        shape = torch.broadcast_shapes(z.shape[:-1], known.shape[:-1])
        both = torch.cat([z.expand(*shape, -1), known.expand(*shape, -1)], -1)
        return dist.Normal(self.decoder(both), 0.9).to_event(1)

    def q_z(self, x: Tensor, k: Tensor) -> Any:
        known = self.one_hot(k)
        shape = torch.broadcast_shapes(x.shape[:-1], known.shape[:-1])
        both = torch.cat([x.expand(*shape, -1), known.expand(*shape, -1)], -1)
        return dist.Normal(self.encoder(both), 0.6).to_event(1)


class ByTheGuide(Parts):
    """A class and a latent given it, both drawn by the guide: Kingma's M2 without labels."""

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", self.prior())
            z = pyro.sample("z", dist.Normal(x.new_zeros(DIMS), 1.0).to_event(1))
            pyro.sample("x", self.p_x(z, k), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Categorical(logits=self.classes(x)))
            pyro.sample("z", self.q_z(x, k))


class ByTheModel(Parts):
    """A mixture prior whose component the model alone draws."""

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", self.prior())
            z = pyro.sample("z", dist.Normal(self.means[k], 0.5).to_event(1))
            pyro.sample("x", self.likelihood(z), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", self.q_z(x, torch.zeros(len(x), dtype=torch.long)))

    def likelihood(self, z: Tensor) -> Any:
        return self.p_x(z, torch.zeros(z.shape[:-1], dtype=torch.long))


class Mixture(ByTheModel):
    """The same with the component summed out by hand."""

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            components = dist.Normal(self.means, 0.5).to_event(1)
            z = pyro.sample("z", dist.MixtureSameFamily(self.prior(), components))
            pyro.sample("x", self.likelihood(z), obs=x)


@pytest.fixture
def x() -> Tensor:
    return torch.randn(BATCH, COLUMNS, dtype=torch.float64)


def same(kind: type[Parts], other: Parts) -> Parts:
    made = kind()
    made.load_state_dict(other.state_dict())
    return made


def loss_and_gradients(objective: Any, pair: Autoencoder, x: Tensor) -> list[Tensor]:
    torch.manual_seed(7)
    loss = objective.differentiable_loss(pair.model, pair.guide, x)
    used = [p for p in pair.parameters() if p.requires_grad]
    found = torch.autograd.grad(loss, used, allow_unused=True)
    return [loss.detach(), *(torch.zeros(()) if g is None else g for g in found)]


def assert_same(found: list[Tensor], expected: list[Tensor]) -> None:
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other.broadcast_to(one.shape), **EXACT)


def test_it_is_pyros_traceenum_elbo(x: Tensor) -> None:
    pair = ByTheGuide()
    pyros = TraceEnum_ELBO(max_plate_nesting=1)
    torch.manual_seed(7)
    expected = pyros.differentiable_loss(pair.model, config_enumerate(pair.guide), x)
    # Pyro samples the KL of z; so does this, for the comparison alone.
    torch.manual_seed(7)
    traces = Traces.run(pair.model, enumerated(pair.guide), x)
    found = densities([traces], len(x))
    loss = (found.log_guide - found.log_prior - found.reconstruction).sum()
    torch.testing.assert_close(loss, expected, **EXACT)
    parameters = [p for name, p in pair.named_parameters() if name != "means"]
    for one, other in zip(
        torch.autograd.grad(loss, parameters),
        torch.autograd.grad(expected, parameters),
        strict=True,
    ):
        torch.testing.assert_close(one, other, **EXACT)


def test_with_discrete_latents_alone_the_loss_is_pyros(x: Tensor) -> None:
    class Alone(ByTheGuide):
        def model(self, x: Tensor) -> None:
            with pyro.plate("data", len(x)):
                k = pyro.sample("k", self.prior())
                pyro.sample("x", self.p_x(x.new_zeros(DIMS), k), obs=x)

        def guide(self, x: Tensor) -> None:
            with pyro.plate("data", len(x)):
                pyro.sample("k", dist.Categorical(logits=self.classes(x)))

    pair = Alone()
    marked = same(Alone, pair)
    marked.guide = config_enumerate(marked.guide)  # type: ignore[method-assign]
    assert_same(
        loss_and_gradients(EnumeratedELBO(), pair, x),
        loss_and_gradients(TraceEnum_ELBO(max_plate_nesting=1), marked, x),
    )
    log_joint = torch.stack(
        [
            pair.weights.log_softmax(0)[k]
            + pair.p_x(torch.zeros(DIMS).double(), torch.tensor(k)).log_prob(x)
            for k in range(CLASSES)
        ],
        1,
    )
    log_q = pair.classes(x).log_softmax(-1)
    _, terms = EnumeratedELBO().loss_and_terms(pair, x)
    torch.testing.assert_close(terms.elbo, (log_q.exp() * (log_joint - log_q)).sum(1), **EXACT)
    assert terms.kl_kind == {"k": "exact"}


def test_a_class_given_another_is_averaged_with_both_probabilities(x: Tensor) -> None:
    """The data depend on the second class alone, whose probability depends on the first."""

    class Two(ByTheGuide):
        def model(self, x: Tensor) -> None:
            with pyro.plate("data", len(x)):
                pyro.sample("j", self.prior())
                k = pyro.sample("k", self.prior())
                pyro.sample("x", self.p_x(x.new_zeros(DIMS), k), obs=x)

        def guide(self, x: Tensor) -> None:
            with pyro.plate("data", len(x)):
                j = pyro.sample("j", dist.Categorical(logits=self.classes(x)))
                logits = self.means.T[0] * j.unsqueeze(-1)
                pyro.sample("k", dist.Categorical(logits=logits))

    pair = Two()
    loss = EnumeratedELBO().differentiable_loss(pair.model, pair.guide, x)
    pyros = TraceEnum_ELBO(max_plate_nesting=1)
    expected = pyros.differentiable_loss(pair.model, config_enumerate(pair.guide), x)
    torch.testing.assert_close(loss, expected, **EXACT)


def test_no_closed_form_is_taken_given_a_class_of_the_model_alone(x: Tensor) -> None:
    """KL(q(z | x), p(z | k)) is known for each k, and is not KL(q(z | x), p(z))."""
    pair = ByTheModel()
    assert isinstance(build_objective(ELBOSpec(kl="auto"), pair, x), SampledELBO)
    with pytest.raises(SpecError, match="depends on a discrete latent of the model alone"):
        build_objective(ELBOSpec(kl="analytic"), pair, x)


def test_the_particles_of_a_summed_class_agree(x: Tensor) -> None:
    """Without another latent there is nothing to draw, so each particle is the whole sum."""
    pair = ByTheGuide()
    with torch.no_grad():  # z as the prior has it, and without a share in x
        pair.encoder.weight.zero_()
        pair.encoder.bias.zero_()
        pair.decoder.weight[:, :DIMS].zero_()
    one = EnumeratedELBO().loss_and_terms(pair, x)[1].elbo
    for options in ({}, {"vectorize_particles": True, "max_plate_nesting": 1}):
        several = EnumeratedELBO(num_particles=3, **options).loss_and_terms(pair, x)[1].elbo
        torch.testing.assert_close(several, one, **EXACT)


@pytest.mark.parametrize(
    "objective",
    [
        SampledELBO(),
        EnumeratedELBO(),
        RenyiBound(3),
        RenyiBound(3, 0.5),
        FreeBitsELBO(groups="site"),
    ],
    ids=lambda objective: type(objective).__name__,
)
def test_a_class_of_the_model_alone_is_summed_under_every_objective(
    x: Tensor, objective: Objective
) -> None:
    pair = ByTheModel()
    mixture = same(Mixture, pair)
    assert_same(loss_and_gradients(objective, pair, x), loss_and_gradients(objective, mixture, x))
    torch.manual_seed(3)
    loss, terms = objective.loss_and_terms(pair, x)
    torch.manual_seed(3)
    expected, others = objective.loss_and_terms(mixture, x)
    torch.testing.assert_close(loss, expected, **EXACT)
    torch.testing.assert_close(terms.reconstruction, others.reconstruction, **EXACT)
    torch.testing.assert_close(terms.kl["z"], others.kl["z"], **EXACT)
    assert terms.kl_kind == others.kl_kind == {"z": "sampled"}


def test_densities_of_latents_do_not_hold_the_class_of_the_model(x: Tensor) -> None:
    pair = ByTheModel()
    found, expected = LocalPosterior(pair, x), LocalPosterior(same(Mixture, pair), x)
    assert found.names == expected.names == ["z[0]", "z[1]"]
    z = torch.randn(3, BATCH, DIMS, dtype=torch.float64)
    for one, other in zip(found.log_model(z), expected.log_model(z), strict=True):
        torch.testing.assert_close(one, other, **EXACT)
    torch.testing.assert_close(
        evaluate_pointwise(pair, x, 50).log_prob,
        evaluate_pointwise(same(Mixture, pair), x, 50).log_prob,
        **EXACT,
    )


def test_a_latent_and_the_data_may_both_depend_on_the_class_of_the_model(x: Tensor) -> None:
    """log p(x | z) is log p(x, z) - log p(z), each with its own sum."""

    class Both(ByTheModel):
        def model(self, x: Tensor) -> None:
            with pyro.plate("data", len(x)):
                k = pyro.sample("k", self.prior())
                z = pyro.sample("z", dist.Normal(self.means[k], 0.5).to_event(1))
                pyro.sample("x", self.p_x(z, k), obs=x)

    pair = Both()
    z = torch.randn(1, BATCH, DIMS, dtype=torch.float64)
    log_k = pair.weights.log_softmax(0)
    log_z = log_k + dist.Normal(pair.means, 0.5).to_event(1).log_prob(z.squeeze(0).unsqueeze(1))
    log_x = torch.stack([pair.p_x(z[0], torch.tensor(k)).log_prob(x) for k in range(CLASSES)], 1)
    log_prior, log_likelihood = LocalPosterior(pair, x).log_model(z)
    torch.testing.assert_close(log_prior[0], log_z.logsumexp(1), **EXACT)
    torch.testing.assert_close(
        log_likelihood[0], (log_z + log_x).logsumexp(1) - log_z.logsumexp(1), **EXACT
    )


class Nested(Parts):
    """A class of each repeated measurement, within a class of the observation."""

    guided: tuple[str, ...] = ("a", "b")

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
            a = pyro.sample("a", self.prior())
            with pyro.plate("repeats", REPEATS, dim=-2):
                b = pyro.sample("b", dist.Categorical(logits=self.means.T[0] + a.unsqueeze(-1)))
                loc = a.double() - 0.7 * b.double() + z
                pyro.sample("x", dist.Normal(loc, 0.8), obs=x[:, :REPEATS].T)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.encoder.bias[0], 0.3))
            if "a" in self.guided:
                pyro.sample("a", dist.Categorical(logits=self.classes(x)))
            if "b" in self.guided:
                with pyro.plate("repeats", REPEATS, dim=-2):
                    logits = x[:, :REPEATS].T.unsqueeze(-1) * self.weights
                    pyro.sample("b", dist.Categorical(logits=logits))


@pytest.mark.parametrize("guided", [("a", "b"), ("a",), ()], ids=str)
def test_classes_in_nested_plates_are_summed_inside_their_plate(
    x: Tensor, guided: tuple[str, ...]
) -> None:
    class Pair(Nested):
        pass

    Pair.guided = guided
    pair = Pair()
    torch.manual_seed(5)
    traces = Traces.run(pair.model, enumerated(pair.guide), x)
    found = densities([traces], len(x))
    loss = (found.log_guide - found.log_prior - found.reconstruction).sum()
    torch.manual_seed(5)
    guide, model = config_enumerate(pair.guide), config_enumerate(pair.model)
    expected = TraceEnum_ELBO(max_plate_nesting=2).differentiable_loss(model, guide, x)
    torch.testing.assert_close(loss, expected, **EXACT)


def test_a_class_that_the_guide_knows_for_certain_adds_nothing(x: Tensor) -> None:
    """Probability zero does not count, though log p there is -inf and has no gradient."""

    class Known(ByTheGuide):
        def model(self, x: Tensor) -> None:
            with pyro.plate("data", len(x)):
                never = torch.tensor([0.0, -math.inf, 0.0], dtype=torch.float64)
                k = pyro.sample("k", dist.Categorical(logits=self.weights + never))
                z = pyro.sample("z", dist.Normal(x.new_zeros(DIMS), 1.0).to_event(1))
                pyro.sample("x", self.p_x(z, k), obs=x)

        def guide(self, x: Tensor) -> None:
            with pyro.plate("data", len(x)):
                sure = torch.tensor([0.0, -math.inf, -math.inf], dtype=torch.float64)
                k = pyro.sample("k", dist.Categorical(logits=sure.expand(len(x), -1)))
                pyro.sample("z", self.q_z(x, k))

    pair = Known()
    loss, terms = EnumeratedELBO().loss_and_terms(pair, x)
    never = torch.tensor([0.0, -math.inf, 0.0], dtype=torch.float64)
    log_p = (pair.weights + never).log_softmax(0)[0]
    torch.testing.assert_close(terms.kl["k"], -log_p.expand(BATCH), **EXACT)
    loss.backward()
    assert all(p.grad.isfinite().all() for p in pair.parameters() if p.grad is not None)


def test_a_masked_observation_contributes_nothing(x: Tensor) -> None:
    shown = torch.tensor([True, False, True, True, False])
    for kind in (ByTheGuide, ByTheModel):
        pair = kind()
        with poutine.mask(mask=shown):
            traces = Traces.run(pair.model, enumerated(pair.guide), x)
        terms = ELBOTerms.of(densities([traces], len(x)))
        hidden = ~shown
        assert (terms.elbo[hidden] == 0).all()
        assert (terms.reconstruction[hidden] == 0).all()
        assert (terms.elbo[shown] != 0).all()


def test_training_and_evaluation_sum_too() -> None:
    data = from_arrays(torch.randn(60, COLUMNS))
    pair = ByTheModel().float()
    spec = InferenceSpec.model_validate({"epochs": 1, "objective": {"kind": "enumerated"}})
    training = Training(pair, data, spec)
    training.run()
    summary = evaluate(pair, data.test, training.objective)
    assert math.isfinite(summary.elbo)
    assert set(summary.kl_per_site) == {"z"}


@pytest.mark.parametrize("kind", [ByTheGuide, ByTheModel])
def test_a_captured_training_is_the_same(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Captured, "compiled", lambda captured, _: captured)  # takes seconds
    torch.manual_seed(1)
    data, start = from_arrays(torch.randn(60, COLUMNS)), kind().float().state_dict()
    spec = InferenceSpec.model_validate(
        {"epochs": 2, "batch_size": 16, "objective": {"kind": "enumerated"}}
    )
    trained = []
    for compile in ("off", "on"):
        pair = kind().float()
        pair.load_state_dict(start)
        training = Training(pair, data, spec, Computation(compile=compile))
        torch.manual_seed(2)
        training.run()
        assert training.execution.summary.startswith("captured") == (compile == "on")
        trained.append(pair.state_dict())
    for name, value in trained[0].items():
        torch.testing.assert_close(trained[1][name], value, rtol=1e-5, atol=1e-6)


class TooMany(ByTheGuide):
    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            for i in range(7):
                pyro.sample(f"k{i}", dist.Categorical(logits=x.new_zeros(10)))
            pyro.sample("z", dist.Normal(x.new_zeros(DIMS), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(x.new_zeros(COLUMNS), 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", self.q_z(x, torch.zeros(len(x), dtype=torch.long)))


class Chain(TooMany):
    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x.new_zeros(DIMS), 1.0).to_event(1))
            k = x.new_zeros((), dtype=torch.long)
            for t in pyro.markov(range(4)):
                k = pyro.sample(
                    f"k{t}", dist.Categorical(logits=self.means.T[0] * k.unsqueeze(-1))
                )
            loc = k.double().unsqueeze(-1).expand(*k.shape, COLUMNS)
            pyro.sample("x", dist.Normal(loc, 1.0).to_event(1), obs=x)


class InnerOnly(Nested):
    guided = ("b",)


class Scaled(ByTheModel):
    def model(self, x: Tensor) -> None:
        with poutine.scale(scale=2.0):
            super().model(x)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (TooMany, r"'k6' have 10,000,000 combinations of values, more than the 1,000,000"),
        (Chain, r"k0, k1, k2, k3, share a dimension.*without pyro\.markov"),
        (InnerOnly, r"'a' is outside of a plate in which the guide enumerates another"),
        (Scaled, r"is scaled, and the model's discrete latent 'k'"),
    ],
)
def test_what_cannot_be_summed_is_refused_by_name(x: Tensor, kind: Any, words: str) -> None:
    pair = kind()
    with pytest.raises(SpecError, match=words):
        EnumeratedELBO().differentiable_loss(pair.model, pair.guide, x)


def test_what_can_be_neither_listed_nor_reparameterised_is_refused(x: Tensor) -> None:
    class Counts(ByTheGuide):
        def model(self, x: Tensor) -> None:
            with pyro.plate("data", len(x)):
                n = pyro.sample("n", dist.Poisson(x.new_ones(())))
                loc = n.unsqueeze(-1).expand(*n.shape, COLUMNS)
                pyro.sample("x", dist.Normal(loc, 1.0).to_event(1), obs=x)

        def guide(self, x: Tensor) -> None:
            with pyro.plate("data", len(x)):
                pyro.sample("n", dist.Poisson(self.classes(x).exp().sum(-1)))

    pair = Counts()
    with pytest.raises(SpecError, match="nor can its values be enumerated at site 'n'"):
        EnumeratedELBO().differentiable_loss(pair.model, pair.guide, x)


def test_the_kl_of_a_latent_beside_a_summed_class_is_in_closed_form(x: Tensor) -> None:
    """Checked with a single class, where the closed form is that of the latent alone."""

    class Single(ByTheGuide):
        def prior(self) -> Any:
            return dist.Categorical(logits=self.weights[:1])

        def guide(self, x: Tensor) -> None:
            with pyro.plate("data", len(x)):
                k = pyro.sample("k", dist.Categorical(logits=x.new_zeros(len(x), 1)))
                pyro.sample("z", self.q_z(x, k))

    pair = Single()
    torch.manual_seed(1)
    _, terms = EnumeratedELBO().loss_and_terms(pair, x)
    assert terms.kl_kind == {"k": "exact", "z": "exact"}
    q = pair.q_z(x, torch.zeros(len(x), dtype=torch.long))
    prior = dist.Normal(torch.zeros(DIMS).double(), 1.0).to_event(1)
    kl = torch.distributions.kl_divergence(q.base_dist, prior.base_dist).sum(-1)
    torch.testing.assert_close(terms.kl["z"], kl, **EXACT)
