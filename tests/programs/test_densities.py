"""The share of each site in the bound, for every kind of program."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, Trace_ELBO, TraceEnum_ELBO, TraceMeanField_ELBO, config_enumerate
from pyro.infer.autoguide import AutoNormal
from pyro.optim import Adam
from torch import Tensor, nn

from pyrovae import Autoencoder, from_pyro_svi, log_evidence
from pyrovae.data.arrays import from_arrays
from pyrovae.errors import DataError, SpecError
from pyrovae.evaluation.bound import evaluate
from pyrovae.evaluation.local import LocalPosterior
from pyrovae.evaluation.metrics import BoundSummary, Layout, sums
from pyrovae.evaluation.pointwise import evaluate_pointwise
from pyrovae.evaluation.support_check import check_support
from pyrovae.objectives import (
    AnalyticELBO,
    CapacityELBO,
    FreeBitsELBO,
    MMDObjective,
    Objective,
    RenyiBound,
    SampledELBO,
    TotalCorrelationELBO,
    build_objective,
)
from pyrovae.objectives.mmd import mmd
from pyrovae.objectives.requirements import pairs
from pyrovae.objectives.terms import ELBOTerms
from pyrovae.programs.autoencoder import Formulas
from pyrovae.programs.densities import densities
from pyrovae.programs.handwritten import Handwritten
from pyrovae.programs.log_density import log_density
from pyrovae.programs.traces import Traces
from pyrovae.report.figures import draw_figures
from pyrovae.specs.objectives import ELBOSpec

EXACT = {"rtol": 1e-12, "atol": 1e-12}
DIMS, COLUMNS, BATCH = 2, 3, 4
Program = Callable[..., Any]


class Pair(Autoencoder):
    """Two functions of the data and a module of their own, as an autoencoder."""

    vectorisable = True

    def __init__(self, model: Program, guide: Program, parts: nn.Module) -> None:
        super().__init__()
        self.parts = parts
        self._model, self._guide = model, guide

    def model(self, x: Tensor) -> None:
        self._model(x)

    def guide(self, x: Tensor) -> None:
        self._guide(x)

    def formulas(self) -> Formulas:
        return Formulas("p(z)", "p(x | z)", "q(z | x)")


class Linear(nn.Module):
    """Linear maps to and from latents, with a guide that is not exact."""

    def __init__(self, dims: int = DIMS) -> None:
        super().__init__()
        self.decoder = nn.Linear(dims, COLUMNS)
        self.encoder = nn.Linear(COLUMNS, dims)
        self.scale = nn.Parameter(torch.full((dims,), 0.7))
        self.double()

    def q(self, x: Tensor) -> Any:
        return dist.Normal(self.encoder(x), self.scale).to_event(1)

    def p(self, x: Tensor) -> Any:
        return dist.Normal(x.new_zeros(len(self.scale)), x.new_ones(())).to_event(1)

    def likelihood(self, z: Tensor) -> Any:
        return dist.Normal(self.decoder(z), torch.tensor(0.8).double()).to_event(1)


@pytest.fixture
def parts() -> Linear:
    return Linear()


@pytest.fixture
def x() -> Tensor:
    return torch.randn(BATCH, COLUMNS, dtype=torch.float64)


def plain(parts: Linear, around: Callable[[Tensor], Any] = lambda _: nullcontext()) -> Pair:
    """One latent, one observed site; both programs inside a handler in the plate."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)), around(x):
            z = pyro.sample("z", parts.p(x))
            pyro.sample("x", parts.likelihood(z), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)), around(x):
            pyro.sample("z", parts.q(x))

    return Pair(model, guide, parts)


def seeded(call: Callable[[], Tensor], module: nn.Module) -> tuple[Tensor, list[Tensor]]:
    """A loss and its gradients, always with the same random numbers."""
    module.zero_grad()
    torch.manual_seed(3)
    loss = call()
    loss.backward()
    grads = [
        torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in module.parameters()
    ]
    return loss.detach(), grads


def trained_loss(objective: Objective, pair: Autoencoder, x: Tensor, beta: float = 1.0) -> Any:
    return seeded(lambda: objective.loss_and_terms(pair, x, beta)[0], pair)


# Hierarchies.


class Chain(nn.Module):
    """z2 -> z1 -> x, normal and known; q(z1 | x) q(z2 | z1) is the exact posterior."""

    noise, step = 0.5, 0.1

    def __init__(self) -> None:
        super().__init__()
        prior = 1 + self.step**2
        gain1 = prior / (prior + self.noise**2)
        gain2 = 1 / prior
        self.register_buffer("gains", torch.tensor([gain1, gain2], dtype=torch.float64))
        scales = [(prior * (1 - gain1)) ** 0.5, (1 - gain2) ** 0.5]
        self.scales = nn.Parameter(torch.tensor(scales, dtype=torch.float64))

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z2 = pyro.sample("z2", dist.Normal(x.new_zeros(1), x.new_ones(1)).to_event(1))
            z1 = pyro.sample("z1", dist.Normal(z2, x.new_tensor(self.step)).to_event(1))
            pyro.sample("x", dist.Normal(z1, x.new_tensor(self.noise)).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            loc = self.gains[0] * x
            z1 = pyro.sample("z1", dist.Normal(loc, self.scales[0]).to_event(1))
            pyro.sample("z2", dist.Normal(self.gains[1] * z1, self.scales[1]).to_event(1))

    def evidence(self, x: Tensor) -> Tensor:
        variance = 1 + self.step**2 + self.noise**2
        return dist.Normal(x.new_zeros(()), x.new_tensor(variance).sqrt()).log_prob(x).sum(-1)


@pytest.fixture
def chain() -> Pair:
    parts = Chain()
    return Pair(parts.model, parts.guide, parts)


@pytest.mark.parametrize("particles", [1, 4])
def test_every_bound_of_an_exact_guide_in_the_other_order_is_the_evidence(
    chain: Any, particles: int
) -> None:
    x = torch.randn(6, 1, dtype=torch.float64)
    expected = chain.parts.evidence(x)
    for objective in (SampledELBO(particles), RenyiBound(particles), RenyiBound(particles, 0.5)):
        loss, terms = objective.loss_and_terms(chain, x)
        torch.testing.assert_close(loss.detach(), -expected.mean(), **EXACT)
        assert terms.kl_kind == {"z2": "exact", "z1": "sampled"}
    torch.testing.assert_close(evaluate_pointwise(chain, x, 5).log_prob, expected, **EXACT)


def test_in_the_other_order_no_closed_form_is_optimised_or_reported(chain: Any) -> None:
    x = torch.randn(6, 1, dtype=torch.float64)
    assert isinstance(build_objective(ELBOSpec(kl="auto"), chain, x), SampledELBO)
    with pytest.raises(SpecError, match="draws in another order"):
        build_objective(ELBOSpec(kl="analytic"), chain, x)
    with pytest.raises(SpecError, match="another order"):
        AnalyticELBO().differentiable_loss(chain.model, chain.guide, x)
    kinds = {name: pair.kl_kind for name, pair in pairs(chain, x).items()}
    assert kinds == {"z2": "exact", "z1": "sampled"}


def test_in_the_same_order_the_closed_form_is_the_mean_of_the_sampled_one(chain: Any) -> None:
    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z2 = pyro.sample("z2", dist.Normal(0.4 * x, 0.8).to_event(1))
            pyro.sample("z1", dist.Normal(0.3 * z2 + 0.6 * x, chain.parts.scales[0]).to_event(1))

    ordered = Pair(chain.parts.model, guide, chain.parts)
    x = torch.randn(1, 1, dtype=torch.float64).expand(20_000, 1)
    analytic = AnalyticELBO().loss_and_terms(ordered, x)[1]
    sampled = SampledELBO().loss_and_terms(ordered, x)
    assert analytic.kl_kind == {"z2": "exact", "z1": "exact"}
    log_weight = -sampled[0].item()
    error = analytic.elbo.std().item() / len(x) ** 0.5
    assert abs(analytic.elbo.mean().item() - log_weight) < 5 * math.hypot(error, 3 / len(x) ** 0.5)


# One latent as two.


def halves(parts: Linear) -> Pair:
    """The latent of :func:`plain` as two independent sites."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = [
                pyro.sample(f"z{i}", dist.Normal(x.new_zeros(1), 1.0).to_event(1)) for i in (1, 2)
            ]
            pyro.sample("x", parts.likelihood(torch.cat(z, -1)), obs=x)

    def guide(x: Tensor) -> None:
        loc = parts.encoder(x)
        noise = NOISE
        with pyro.plate("data", len(x)):
            for i in (0, 1):
                scale = parts.scale[i : i + 1]
                q = Fixed(loc[:, i : i + 1], scale, noise[..., i : i + 1])
                pyro.sample(f"z{i + 1}", q.to_event(1))

    return Pair(model, guide, parts)


NOISE = torch.randn(BATCH, DIMS, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


class Fixed(dist.Normal):
    """A normal whose draw is made of given noise."""

    def __init__(
        self, loc: Tensor, scale: Tensor, noise: Tensor, validate_args: Any = None
    ) -> None:
        super().__init__(loc, scale, validate_args=validate_args)
        self.noise = noise

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self.loc + self.scale * self.noise

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        new = super().expand(batch_shape, self._get_checked_instance(Fixed, _instance))
        new.noise = self.noise
        return new


def whole(parts: Linear) -> Pair:
    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", Fixed(parts.encoder(x), parts.scale, NOISE).to_event(1))

    return Pair(plain(parts)._model, guide, parts)


OBJECTIVES = {
    "sampled": SampledELBO,
    "analytic": AnalyticELBO,
    "free_bits": lambda: FreeBitsELBO(nats=0.2),
    "capacity": lambda: CapacityELBO(capacity=0.5),
    "iwae": lambda: RenyiBound(2),
    "renyi": lambda: RenyiBound(2, 0.5),
    "stl": lambda: RenyiBound(2, 0.0, "stl"),
    "dreg": lambda: RenyiBound(2, 0.0, "dreg"),
}
every_objective = pytest.mark.parametrize("objective", OBJECTIVES)


@every_objective
def test_two_independent_sites_are_one(parts: Linear, x: Tensor, objective: str) -> None:
    make = OBJECTIVES[objective]
    one, two = whole(parts), halves(parts)
    loss, grads = trained_loss(make(), one, x, 0.7)
    other, others = trained_loss(make(), two, x, 0.7)
    torch.testing.assert_close(other, loss, **EXACT)
    for mine, theirs in zip(grads, others, strict=True):
        torch.testing.assert_close(theirs, mine, **EXACT)
    first, second = (make().loss_and_terms(pair, x)[1] for pair in (one, two))
    torch.testing.assert_close(second.elbo, first.elbo, **EXACT)
    per_dim = torch.cat([*second.kl_per_dim.values()], -1)
    torch.testing.assert_close(per_dim, first.kl_per_dim["z"], **EXACT)


def test_gradients_without_the_score_are_unbiased_for_latents_that_depend_on_another() -> None:
    parts = Chain()
    pair = Pair(parts.model, parts.guide, parts)
    with torch.no_grad():
        parts.scales *= 1.2
    x = torch.full((1, 1), 0.7, dtype=torch.float64).expand(500, 1)

    def draws(objective: Objective) -> Tensor:
        return torch.stack([trained_gradient(objective, pair, x) for _ in range(120)])

    for particles, gradient in ((1, "stl"), (3, "dreg")):
        plain_, other = draws(RenyiBound(particles)), draws(RenyiBound(particles, 0.0, gradient))
        error = ((plain_.var(0) + other.var(0)) / len(plain_)).sqrt()
        assert ((plain_.mean(0) - other.mean(0)).abs() < 5 * error).all()


def trained_gradient(objective: Objective, pair: Pair, x: Tensor) -> Tensor:
    loss, _ = objective.loss_and_terms(pair, x)
    (gradient,) = torch.autograd.grad(loss, [pair.parts.scales])
    return gradient


def test_with_an_exact_guide_sticking_the_landing_has_no_variance(chain: Any) -> None:
    x = torch.randn(5, 1, dtype=torch.float64)
    torch.testing.assert_close(
        trained_gradient(RenyiBound(3, 0.0, "stl"), chain, x), torch.zeros(2).double(), **EXACT
    )


# Masks.


def with_mask(parts: Linear, known: Tensor) -> Pair:
    return plain(parts, lambda x: poutine.mask(mask=known[: len(x)]))


MASKED = {
    **OBJECTIVES,
    "mmd": lambda: MMDObjective(weight=3.0),
    "tc": lambda: TotalCorrelationELBO(),
}
masked_objectives = pytest.mark.parametrize("objective", MASKED)


@masked_objectives
def test_what_is_hidden_changes_no_bit(parts: Linear, x: Tensor, objective: str) -> None:
    known = torch.tensor([True, False, True, True])

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", parts.p(x))
            with poutine.mask(mask=known):
                pyro.sample("x", parts.likelihood(z), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", parts.q(torch.where(known[:, None], x, 0.0)))

    pair = Pair(model, guide, parts)
    results = []
    for placeholder in (0.0, 99.0, float("nan")):
        filled = x.clone()
        filled[1] = placeholder
        loss, grads = trained_loss(MASKED[objective](), pair, filled)
        torch.manual_seed(3)
        elbo = MASKED[objective]().loss_and_terms(pair, filled)[1].elbo
        results.append([loss, elbo, *grads])
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@masked_objectives
def test_hidden_observations_contribute_nothing(parts: Linear, x: Tensor, objective: str) -> None:
    if objective == "mmd":
        pytest.skip("its prior draws are others in another batch: tested on its own below")
    known = torch.tensor([True, True, False, False])

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)), poutine.mask(mask=known[: len(x)]):
            noise = NOISE[: len(x)]
            pyro.sample("z", Fixed(parts.encoder(x), parts.scale, noise).to_event(1))

    pair = Pair(with_mask(parts, known)._model, guide, parts)
    loss, grads = trained_loss(MASKED[objective](), pair, x, 0.6)
    part, parts_grads = trained_loss(MASKED[objective](), pair, x[:2], 0.6)
    torch.testing.assert_close(loss * 4, part * 2, **EXACT)
    for mine, theirs in zip(grads, parts_grads, strict=True):
        torch.testing.assert_close(mine * 4, theirs * 2, **EXACT)
    terms = MASKED[objective]().loss_and_terms(pair, x)[1]
    assert not terms.elbo[2:].any()
    assert not terms.kl["z"][2:].any()


def test_hidden_draws_are_in_no_sample_of_the_discrepancy() -> None:
    first, second = torch.randn(2, 5, 3).double().unbind()
    shown = torch.tensor([True, False, True, True, False])
    expected = mmd(first[shown], second[shown]) * 3 / 5
    torch.testing.assert_close(mmd(first, second, shown), expected, **EXACT)


@every_objective
def test_all_known_is_no_mask(parts: Linear, x: Tensor, objective: str) -> None:
    known = torch.ones(BATCH, dtype=torch.bool)
    first = trained_loss(OBJECTIVES[objective](), plain(parts), x)
    second = trained_loss(OBJECTIVES[objective](), with_mask(parts, known), x)
    torch.testing.assert_close(second, first, **EXACT)


def test_a_mask_made_twice_is_as_good_as_one(parts: Linear, x: Tensor) -> None:
    """Both programs work out the same mask, each for itself."""
    pair = plain(parts, lambda x: poutine.mask(mask=x[:, 0] > 0))
    same = with_mask(parts, x[:, 0] > 0)
    for objective in OBJECTIVES.values():
        torch.testing.assert_close(
            trained_loss(objective(), pair, x), trained_loss(objective(), same, x), **EXACT
        )


def columns(parts: Linear, known: Callable[[Tensor], Tensor], way: str) -> Pair:
    """A latent and columns in a plate of their own, of which some are missing."""
    noise = torch.tensor(0.8).double()

    def model(x: Tensor) -> None:
        shown = known(x)
        with pyro.plate("data", len(x), dim=-2):
            z = pyro.sample("z", parts.p(x))
            each = dist.Normal(parts.decoder(z).squeeze(-2), noise)
            with pyro.plate("columns", COLUMNS, dim=-1):
                match way:
                    case "poutine.mask":
                        with poutine.mask(mask=shown):
                            pyro.sample("x", each, obs=x)
                    case ".mask()":
                        pyro.sample("x", each.mask(shown), obs=x)
                    case _:
                        pyro.sample("x", each, obs=x, obs_mask=shown)

    def guide(x: Tensor) -> None:
        filled = torch.where(known(x), x, 0.0)
        with pyro.plate("data", len(x), dim=-2):
            loc = parts.encoder(filled).unsqueeze(-2)
            pyro.sample("z", dist.Normal(loc, parts.scale).to_event(1))

    pair = Pair(model, guide, parts)
    pair.vectorisable = False  # the plates take two dimensions
    return pair


@pytest.mark.parametrize("way", ["poutine.mask", ".mask()", "obs_mask"])
def test_a_missing_column_is_the_model_without_it(parts: Linear, x: Tensor, way: str) -> None:
    pair = columns(parts, lambda x: (torch.arange(COLUMNS) != 1).expand(len(x), -1), way)

    def without(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", parts.p(x))
            kept = parts.decoder(z)[..., [0, 2]]
            noise = torch.tensor(0.8).double()
            pyro.sample("x", dist.Normal(kept, noise).to_event(1), obs=x[:, [0, 2]])

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            filled = torch.where(torch.arange(COLUMNS) != 1, x, 0.0)
            pyro.sample("z", parts.q(filled))

    reference = Pair(without, guide, parts)
    # With an obs_mask the model draws what is missing, so that later draws are others.
    several = [] if way == "obs_mask" else [lambda: RenyiBound(2)]
    for make in (SampledELBO, AnalyticELBO, lambda: FreeBitsELBO(nats=0.1), *several):
        torch.manual_seed(3)
        loss, terms = make().loss_and_terms(pair, x)
        torch.manual_seed(3)
        expected, expected_terms = make().loss_and_terms(reference, x)
        torch.testing.assert_close(loss, expected, **EXACT)
        torch.testing.assert_close(terms.elbo, expected_terms.elbo, **EXACT)
    if several:
        found, expected_found = evaluate_pointwise(pair, x, 7), evaluate_pointwise(reference, x, 7)
        torch.testing.assert_close(found.log_prob, expected_found.log_prob, **EXACT)


# Our objectives in Pyro's SVI.


def nested(parts: Linear) -> Pair:
    return columns(parts, lambda x: torch.ones(x.shape, dtype=torch.bool), ".mask()")


def without_plate(parts: Linear) -> Pair:
    def model(x: Tensor) -> None:
        z = pyro.sample("z", dist.Normal(x.new_zeros(len(x), DIMS), 1.0).to_event(2))
        pyro.sample("x", dist.Normal(parts.decoder(z), 0.8).to_event(2), obs=x)

    def guide(x: Tensor) -> None:
        pyro.sample("z", dist.Normal(parts.encoder(x), parts.scale).to_event(2))

    return Pair(model, guide, parts)


def with_global_latent(parts: Linear) -> Pair:
    def model(x: Tensor) -> None:
        w = pyro.sample("w", dist.Normal(x.new_zeros(()), 1.0))
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", parts.p(x))
            pyro.sample("x", dist.Normal(parts.decoder(z) + w, 0.8).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        pyro.sample("w", dist.Normal(parts.scale[0], 0.5))
        with pyro.plate("data", len(x)):
            pyro.sample("z", parts.q(x))

    return Pair(model, guide, parts)


def without_latents(parts: Linear) -> Pair:
    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("x", parts.likelihood(parts.encoder(x)), obs=x)

    return Pair(model, lambda x: None, parts)


def of_a_number(parts: Linear) -> Pair:
    """A univariate latent, in the plate and with no event."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
            loc = parts.decoder(torch.stack([z, z], -1))
            pyro.sample("x", dist.Normal(loc, 0.8).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(parts.encoder(x)[:, 0], parts.scale[0]))

    return Pair(model, guide, parts)


def subsampled(parts: Linear) -> Pair:
    def model(x: Tensor) -> None:
        with pyro.plate("data", 600, subsample=x):
            z = pyro.sample("z", parts.p(x))
            pyro.sample("x", parts.likelihood(z), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", 600, subsample=x):
            pyro.sample("z", parts.q(x))

    return Pair(model, guide, parts)


STRUCTURES: dict[str, Callable[[Linear], Pair]] = {
    "plain": plain,
    "two sites": halves,
    "scale": lambda parts: plain(parts, lambda _: poutine.scale(scale=0.1)),
    "a scale each": lambda parts: plain(
        parts, lambda x: poutine.scale(scale=torch.arange(1.0, 1 + len(x)).double())
    ),
    "mask": lambda parts: with_mask(parts, torch.tensor([True, False, True, False])),
    "nested plate": nested,
    "no plate": without_plate,
    "global latent": with_global_latent,
    "empty guide": without_latents,
    "a number": of_a_number,
    "subsampled": subsampled,
}


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize(
    ("make", "reference"),
    [
        (SampledELBO, Trace_ELBO),
        (lambda: RenyiBound(1), Trace_ELBO),
        (TotalCorrelationELBO, Trace_ELBO),
        (AnalyticELBO, TraceMeanField_ELBO),
        (lambda: FreeBitsELBO(nats=0.0, groups="site"), TraceMeanField_ELBO),
        (lambda: FreeBitsELBO(nats=0.0), TraceMeanField_ELBO),
        (lambda: CapacityELBO(capacity=0.0), TraceMeanField_ELBO),
    ],
    ids=["sampled", "renyi", "tc", "analytic", "free bits of sites", "free bits", "capacity"],
)
def test_in_svi_objectives_that_are_the_elbo_are_pyros(
    parts: Linear, x: Tensor, structure: str, make: Callable[[], Objective], reference: Any
) -> None:
    pair = STRUCTURES[structure](parts)
    refused = {
        ("no plate", "FreeBitsELBO"): "not a sum over the dimensions",
        ("no plate", "TotalCorrelationELBO"): "marginals",
        ("global latent", "TotalCorrelationELBO"): "several latent sites",
        ("two sites", "TotalCorrelationELBO"): "several latent sites",
        ("a number", "TotalCorrelationELBO"): "marginals",
        ("empty guide", "TotalCorrelationELBO"): "there is no latent site",
    }
    objective = make()
    sentence = refused.get((structure, type(objective).__name__))
    if sentence and not (structure == "no plate" and getattr(objective, "groups", "") == "site"):
        with pytest.raises(SpecError, match=sentence):
            objective.differentiable_loss(pair.model, pair.guide, x)
        return
    mine = seeded(lambda: objective.differentiable_loss(pair.model, pair.guide, x), pair)
    theirs = seeded(lambda: reference().differentiable_loss(pair.model, pair.guide, x), pair)
    torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9)


def test_an_automatic_guide_with_auxiliary_sites_is_trained_as_by_pyro(x: Tensor) -> None:
    def model(x: Tensor) -> None:
        scale = pyro.sample("scale", dist.LogNormal(x.new_zeros(()), 1.0))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(0.0, scale).expand([COLUMNS]).to_event(1), obs=x)

    guide = AutoNormal(model)
    guide(x)
    mine = seeded(lambda: SampledELBO().differentiable_loss(model, guide, x), guide)
    theirs = seeded(lambda: Trace_ELBO().differentiable_loss(model, guide, x), guide)
    torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-6)
    with pytest.raises(SpecError):
        AnalyticELBO().differentiable_loss(model, guide, x)


def test_svi_steps_with_every_argument_of_the_programs(parts: Linear, x: Tensor) -> None:
    def model(x: Tensor, y: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", parts.p(x))
            pyro.sample("x", parts.likelihood(z + y[:, None]), obs=x)

    def guide(x: Tensor, y: Tensor) -> None:
        pyro.module("parts", parts)
        with pyro.plate("data", len(x)):
            pyro.sample("z", parts.q(x))

    svi = SVI(model, guide, Adam({"lr": 0.01}), FreeBitsELBO(nats=0.1))
    losses = [svi.step(x, torch.zeros(len(x)).double()) for _ in range(30)]
    assert losses[-1] < losses[0]


# Discrete latents.


def discrete(parts: Linear) -> Pair:
    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Categorical(logits=x.new_zeros(DIMS)))
            pyro.sample("x", parts.likelihood(torch.eye(DIMS).double()[k]), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("k", dist.Categorical(logits=parts.encoder(x)))

    return Pair(model, guide, parts)


def exact_loss(parts: Linear, x: Tensor) -> Tensor:
    """The negative ELBO with the sum over classes done by hand, summed over data."""
    log_q = parts.encoder(x).log_softmax(-1)
    log_x = torch.stack([parts.likelihood(code).log_prob(x) for code in torch.eye(DIMS).double()])
    return -(log_q.exp() * (log_x.T - math.log(DIMS) - log_q)).sum()


def test_a_class_drawn_by_the_guide_has_the_score_function_gradient(
    parts: Linear, x: Tensor
) -> None:
    pair, copies = discrete(parts), x.repeat(500, 1)
    expected = torch.autograd.grad(exact_loss(parts, x), [parts.encoder.bias])[0]
    draws = []
    for _ in range(40):
        loss = SampledELBO().differentiable_loss(pair.model, pair.guide, copies) / 500
        draws.append(torch.autograd.grad(loss, [parts.encoder.bias])[0])
    found = torch.stack(draws)
    assert ((found.mean(0) - expected).abs() < 5 * found.std(0) / len(draws) ** 0.5).all()


@pytest.mark.parametrize(
    "objective",
    [
        AnalyticELBO(),
        FreeBitsELBO(groups="site"),
        CapacityELBO(),
        RenyiBound(2),
        RenyiBound(2, 0.0, "stl"),
        RenyiBound(2, 0.0, "dreg"),
        MMDObjective(),
        TotalCorrelationELBO(),
    ],
    ids=lambda objective: type(objective).__name__,
)
def test_other_objectives_refuse_a_class_drawn_by_the_guide(
    parts: Linear, x: Tensor, objective: Objective
) -> None:
    pair = discrete(parts)
    with pytest.raises(SpecError, match="cannot be reparameterised"):
        objective.differentiable_loss(pair.model, pair.guide, x)


def test_enumerated_classes_are_averaged_under_the_guide(parts: Linear, x: Tensor) -> None:
    pair = discrete(parts)
    guide = config_enumerate(pair.guide, default="parallel")
    enumerated = poutine.enum(guide, first_available_dim=-2)
    found = densities([Traces.run(pair.model, enumerated, x)], len(x))
    elbo = found.reconstruction - found.kl
    torch.testing.assert_close(-elbo.sum(), exact_loss(parts, x), **EXACT)
    loss = TraceEnum_ELBO(max_plate_nesting=1).differentiable_loss(pair.model, guide, x)
    torch.testing.assert_close(-elbo.sum(), loss, rtol=1e-9, atol=1e-9)
    assert found.sites["k"].kl_kind == "exact"


def test_a_class_that_the_guide_never_draws_counts_nothing(parts: Linear, x: Tensor) -> None:
    with torch.no_grad():
        parts.encoder.weight[0], parts.encoder.bias[0] = 0.0, -math.inf
    pair = discrete(parts)
    guide = poutine.enum(config_enumerate(pair.guide, default="parallel"), first_available_dim=-2)
    found = densities([Traces.run(pair.model, guide, x)], len(x))
    certain = parts.likelihood(torch.eye(DIMS).double()[1]).log_prob(x) - math.log(DIMS)
    log_weight = found.reconstruction + found.log_prior - found.log_guide
    for bound in (found.reconstruction - found.kl, log_weight):
        torch.testing.assert_close(bound[0], certain, **EXACT)


# Scales and subsamples belong to the loss, not to the model.


@pytest.mark.parametrize("factor", [0.1, 4.0])
def test_a_scale_inside_a_program_changes_its_loss_and_nothing_else(
    parts: Linear, x: Tensor, factor: float
) -> None:
    one, scaled = plain(parts), plain(parts, lambda _: poutine.scale(scale=factor))
    for pair in (one, scaled):
        pair.vectorisable = False
    for make in OBJECTIVES.values():
        if getattr(make(), "gradient", "plain") != "plain":
            continue
        torch.manual_seed(3)
        loss, terms = make().loss_and_terms(one, x)
        torch.manual_seed(3)
        scaled_loss, scaled_terms = make().loss_and_terms(scaled, x)
        torch.testing.assert_close(scaled_terms.elbo, terms.elbo, **EXACT)
        if isinstance(make(), (SampledELBO, AnalyticELBO)):
            torch.testing.assert_close(scaled_loss, factor * loss, **EXACT)
    torch.testing.assert_close(
        evaluate_pointwise(scaled, x, 9).log_prob, evaluate_pointwise(one, x, 9).log_prob, **EXACT
    )


@pytest.mark.parametrize("make", OBJECTIVES.values(), ids=OBJECTIVES)
def test_the_loss_per_observation_does_not_depend_on_the_size_of_the_data(
    parts: Linear, x: Tensor, make: Callable[[], Objective]
) -> None:
    first = trained_loss(make(), plain(parts), x, 2.0)
    second = trained_loss(make(), subsampled(parts), x, 2.0)
    torch.testing.assert_close(second, first, **EXACT)


def test_a_subsampled_plate_inside_that_of_the_data_counts_for_all_of_it(x: Tensor) -> None:
    """Half of the columns, at twice their weight, estimate the log-density of all."""
    parts = Linear()

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-2):
            z = pyro.sample("z", parts.p(x))
            chosen = torch.tensor([0, 2])
            with pyro.plate("columns", 4, subsample=chosen, dim=-1):
                loc = parts.decoder(z).squeeze(-2)[..., chosen]
                pyro.sample("x", dist.Normal(loc, 0.8), obs=x[:, chosen])

    guide = nested(parts)._guide
    traces = Traces.run(model, guide, x)
    found = densities([traces], len(x))
    expected = 2 * log_density(traces.model.nodes["x"]).sum(-1)
    torch.testing.assert_close(found.reconstruction[0], expected, **EXACT)


# All readers see the same.


@pytest.mark.parametrize("structure", ["plain", "mask", "nested plate", "scale"])
def test_every_reader_has_the_same_weights(parts: Linear, x: Tensor, structure: str) -> None:
    pair = STRUCTURES[structure](parts)
    torch.manual_seed(3)
    drawn = from_pyro_svi(pair.model, pair.guide, x, num_draws=5)
    local = LocalPosterior(pair, x)
    posterior = drawn["posterior"]
    pair.vectorisable = structure != "nested plate"
    z = torch.cat(
        [torch.tensor(posterior[name].values[0]).reshape(5, len(x), -1) for name in local.shapes],
        -1,
    )
    log_weight = torch.stack(local.log_model(z)).sum(0) - local.log_guide(z)
    expected = torch.tensor(drawn["sample_stats"]["log_weight"].values[0])
    torch.testing.assert_close(log_weight.detach(), expected, **EXACT)


def test_the_density_of_a_guide_with_auxiliary_sites_is_known_at_its_own_draws_alone(
    parts: Linear, x: Tensor
) -> None:
    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            u = pyro.sample("u", parts.q(x), infer={"is_auxiliary": True})
            shift = torch.tensor(-DIMS * math.log(2.0), dtype=torch.float64)  # z = 2 u
            pyro.sample("z", dist.Delta(2 * u, log_density=shift.expand(len(x)), event_dim=1))

    def doubled(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            loc, scale = 2 * parts.encoder(x), 2 * parts.scale
            pyro.sample("z", dist.Normal(loc, scale).to_event(1))

    model = plain(parts)._model
    auxiliary, direct = Pair(model, guide, parts), Pair(model, doubled, parts)
    found, expected = (evaluate_pointwise(pair, x, 9).log_prob for pair in (auxiliary, direct))
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    with pytest.raises(SpecError, match="auxiliary sites, u"):
        LocalPosterior(auxiliary, x).log_guide(torch.zeros(1, len(x), DIMS).double())


def test_the_standard_error_keeps_its_digits_at_any_level() -> None:
    spread = torch.randn(400, dtype=torch.float64)
    for level in (0.0, 1e6, 1e9):
        terms = ELBOTerms(spread - level, {"z": torch.zeros(400).double()}, {}, {"z": "exact"})
        rows = torch.stack([sums(torch.tensor(0.0), part) for part in split(terms, 7)])
        for totals in (sums(torch.tensor(0.0), terms), rows):
            summary = BoundSummary.of(totals, Layout.of(terms), 400)
            expected = terms.elbo.std().item() / 20
            assert math.isclose(summary.standard_error, expected, rel_tol=2e-3)


def split(terms: ELBOTerms, size: int) -> list[ELBOTerms]:
    parts = zip(terms.reconstruction.split(size), terms.kl["z"].split(size), strict=True)
    return [ELBOTerms(value, {"z": kl}, {}, terms.kl_kind) for value, kl in parts]


def test_a_chain_of_sites_is_reported_as_one(parts: Linear, x: Tensor) -> None:
    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            state = x.new_zeros(1)
            for t in (1, 2, 3):
                state = pyro.sample(f"z_{t}", dist.Normal(state, 1.0).to_event(1))
                pyro.sample(f"x_{t}", dist.Normal(state, 0.5).to_event(1), obs=x[:, t - 1 : t])

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            for t in (1, 2, 3):
                pyro.sample(f"z_{t}", dist.Normal(x[:, t - 1 : t], parts.scale[0]).to_event(1))

    pair = Pair(model, guide, parts)
    loss, terms = AnalyticELBO().loss_and_terms(pair, x)
    assert list(terms.kl) == ["z"]
    assert terms.kl_per_dim["z"].shape == (BATCH, 1)
    torch.testing.assert_close(terms.kl_per_dim["z"].sum(-1), terms.kl["z"], **EXACT)
    torch.testing.assert_close(-terms.elbo.mean(), loss.detach(), **EXACT)


# Looking changes nothing.

NORMALISED = """
import pyro, pyro.distributions as dist, torch
from torch import nn
nets = {
    "enc": nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.3), nn.Linear(4, 2)),
    "dec": nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Dropout(0.3), nn.Linear(4, 3)),
}
def model(x):
    pyro.module("dec", nets["dec"])
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(nets["dec"](z), 0.8).to_event(1), obs=x)
def guide(x):
    pyro.module("enc", nets["enc"])
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(nets["enc"](x), 0.7).to_event(1))
"""


def test_whatever_only_looks_leaves_normalisation_and_modes_alone(tmp_path: Path) -> None:
    path = tmp_path / "normalised.py"
    path.write_text(NORMALISED)
    data = from_arrays(torch.randn(60, 3).numpy())
    program = Handwritten(path, data)
    fresh = {name: buffer for name, buffer in program.named_buffers() if "running_mean" in name}
    assert len(fresh) == 2
    assert not any(buffer.any() for buffer in fresh.values())
    before = {name: value.clone() for name, value in program.state_dict().items()}
    first, second = (evaluate(program, data.test) for _ in range(2))
    assert first == second
    few = data.train.batch(torch.arange(2)).x
    evidence = [log_evidence(program, data.test, 3).log_prob for _ in range(2)]
    assert torch.equal(*evidence)
    pairs(program, few)
    check_support(program, data.train)
    build_objective(ELBOSpec(), program, few)
    for name, value in program.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(module.training for module in program.modules())


def test_a_likelihood_that_is_only_a_factor_is_weighed_and_not_drawn(
    tmp_path: Path, parts: Linear, x: Tensor
) -> None:
    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", parts.p(x))
            pyro.factor("x", parts.likelihood(z).log_prob(x))

    factor = Pair(model, plain(parts)._guide, parts)
    torch.testing.assert_close(
        trained_loss(SampledELBO(), factor, x),
        trained_loss(SampledELBO(), plain(parts), x),
        **EXACT,
    )
    data = from_arrays(torch.randn(60, COLUMNS).double().numpy()).test
    check_support(factor.float(), data)
    drawn = draw_figures(tmp_path, factor, data, [])
    assert [path.name for path in drawn] == ["latent.png", "curves.png"]


def test_support_is_asked_of_what_a_site_observes(tmp_path: Path) -> None:
    path = tmp_path / "signs.py"
    path.write_text(
        """
import pyro, pyro.distributions as dist, torch
from pyro import poutine
from torch import nn
dec = nn.Linear(1, 3)
def model(x):
    pyro.module("dec", dec)
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(1), 1.0).to_event(1))
        bits = OBSERVED
        with poutine.mask(mask=x[:, 0] < 2.9):
            pyro.sample("x", dist.Bernoulli(logits=dec(z)).to_event(1), obs=bits)
def guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(x.new_zeros(1), 1.0).to_event(1))
"""
    )
    data = from_arrays((3 * torch.rand(50, 3)).numpy())
    text = path.read_text()
    path.write_text(text.replace("OBSERVED", "(x > 1).to(x)"))
    check_support(Handwritten(path, data), data.train)
    path.write_text(text.replace("OBSERVED", "x"))
    with pytest.raises(DataError, match="site 'x'"):
        check_support(Handwritten(path, data), data.train)
    path.write_text(text.replace("OBSERVED", "torch.where(x[:, :1] < 2.9, (x > 1).to(x), 7.0)"))
    check_support(Handwritten(path, data), data.train)  # what a mask hides may be anything
