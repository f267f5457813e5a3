"""Chances by the density of codes: by hand, in the limit, and what they do to an expectation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

from pyrovae import InferenceSpec, Splits, Training, build
from pyrovae.errors import DivergenceError, SpecError
from pyrovae.objectives import AnalyticELBO, Objective, RenyiBound, SampledELBO
from pyrovae.programs.autoencoder import Autoencoder, Formulas
from pyrovae.report.console import plan
from pyrovae.specs.files import validate
from pyrovae.specs.resampling import (
    HistogramResamplingSpec,
    KernelResamplingSpec,
    ResamplingSpec,
)
from pyrovae.training.loop import Callback
from pyrovae.training.order import drawn_order, epoch_order
from pyrovae.training.records import Record
from pyrovae.training.resampling import (
    drawing_probabilities,
    expected_shares,
    histogram_probabilities,
    importance,
    kernel_probabilities,
)

HISTOGRAM, KERNEL = HistogramResamplingSpec(alpha=0.02), KernelResamplingSpec(uniform=0.2)
SPECS: list[ResamplingSpec] = [HISTOGRAM, KERNEL]
specs = pytest.mark.parametrize("spec", SPECS, ids=["histogram", "kernel"])
ROUNDING: dict[str, Any] = {"rtol": 1e-9, "atol": 1e-12}


def equal(count: int) -> Tensor:
    """The same chance for all."""
    return torch.full((count,), 1 / count, dtype=torch.float64)


@pytest.fixture
def codes() -> Tensor:
    """As those of a trained encoder, unlike each other in scale, more of them than landmarks."""
    return torch.randn(60, 4).double() * torch.tensor([0.3, 1.0, 1.0, 2.0])


@pytest.fixture
def two_clusters() -> tuple[Tensor, Tensor]:
    """98 and 2 codes in two places far apart, and which are which."""
    labels = torch.arange(100) // 98
    return 1000.0 * labels[:, None].double() + 1e-3 * torch.rand(100, 1).double(), labels


@specs
def test_chances_are_positive_and_add_up_to_one(spec: ResamplingSpec, codes: Tensor) -> None:
    p = drawing_probabilities(codes, spec)
    assert p.shape == (60,)
    assert p.dtype == torch.float64
    assert p.min() > 0
    assert p.sum().item() == pytest.approx(1, abs=1e-12)
    assert p.std() > 1e-4  # or the tests below say nothing


@specs
@pytest.mark.parametrize("count", [1, 2, 30])
def test_codes_that_do_not_vary_have_equal_chances(spec: ResamplingSpec, count: int) -> None:
    constant = torch.full((count, 3), 7.0)
    nearly = constant + 0.05 * torch.randn(count, 3)  # a collapsed dimension: variance 0.0025
    for z in (constant, nearly):
        p = drawing_probabilities(z, spec)
        torch.testing.assert_close(p, equal(count), **ROUNDING)


@specs
def test_a_collapsed_dimension_changes_nothing(spec: ResamplingSpec, codes: Tensor) -> None:
    noise = 0.05 * torch.randn(60, 1).double()
    noise[0] = 0.3  # alone in its bin
    more = torch.cat([codes, noise], dim=1)
    torch.testing.assert_close(
        drawing_probabilities(more, spec), drawing_probabilities(codes, spec), **ROUNDING
    )


def test_equally_full_bins_give_equal_chances() -> None:
    z = torch.arange(30).double()[:, None]
    p = histogram_probabilities(z, bins=10, alpha=1e-6)
    torch.testing.assert_close(p, equal(30), **ROUNDING)


def test_equally_spaced_codes_on_a_circle_have_equal_chances() -> None:
    angle = torch.arange(24).double() * torch.pi / 12
    z = torch.stack([angle.cos(), angle.sin()], dim=1)
    p = drawing_probabilities(z, KERNEL)
    torch.testing.assert_close(p, equal(24), **ROUNDING)


@specs
def test_the_order_of_the_data_does_not_matter(spec: ResamplingSpec, codes: Tensor) -> None:
    order = torch.randperm(60)
    torch.testing.assert_close(
        drawing_probabilities(codes[order], spec), drawing_probabilities(codes, spec)[order]
    )


@specs
def test_units_and_origin_of_the_code_do_not_matter(spec: ResamplingSpec, codes: Tensor) -> None:
    p = drawing_probabilities(codes, spec)
    torch.testing.assert_close(drawing_probabilities(4.0 * codes - 32.0, spec), p)


def test_histograms_do_not_depend_on_the_units_of_each_dimension(codes: Tensor) -> None:
    units = torch.tensor([0.5, 8.0, 1.0, 2.0])
    torch.testing.assert_close(
        drawing_probabilities(codes * units, HISTOGRAM), drawing_probabilities(codes, HISTOGRAM)
    )


@specs
def test_a_large_alpha_makes_chances_equal(spec: ResamplingSpec, codes: Tensor) -> None:
    p = drawing_probabilities(codes, spec.model_copy(update={"alpha": 1e9}))
    torch.testing.assert_close(p, equal(60), rtol=1e-6, atol=0)


@specs
def test_no_datum_is_drawn_less_than_its_part_of_the_uniform_share(
    spec: ResamplingSpec, codes: Tensor
) -> None:
    shared = spec.model_copy(update={"uniform": 0.75})
    p = drawing_probabilities(codes, shared)
    assert p.min() >= 0.75 / 60
    assert importance(p).max() <= 1 / 0.75
    rarity = drawing_probabilities(codes, spec.model_copy(update={"uniform": 0.0}))
    torch.testing.assert_close(p, 0.75 / 60 + 0.25 * rarity, **ROUNDING)


def test_chances_of_two_dimensions_are_those_of_the_rarer_one() -> None:
    first = torch.tensor([0.0, 0.0, 0.0, 1.0, 1.0, 0.0])
    second = torch.tensor([0.0, 0.0, 0.0, 0.0, 1.0, 1.0])
    z = torch.stack([first, second], dim=1).double()
    p = histogram_probabilities(z, bins=2, alpha=0.1)
    # Bins of 4 and of 2; in units of the mean over data, 20 / 6, they are 1.2 and 0.6. The fifth
    # is rare in both dimensions, and that counts no more than to be rare in one.
    rare, common = 1 / 0.7, 1 / 1.3
    expected = torch.tensor([common] * 3 + [rare] * 3, dtype=torch.float64)
    torch.testing.assert_close(p, expected / expected.sum(), **ROUNDING)


@specs
@pytest.mark.parametrize("alpha", [0.001, 0.1, 1.0])
def test_the_share_of_a_rare_cluster_is_as_computed_by_hand(
    spec: ResamplingSpec, alpha: float, two_clusters: tuple[Tensor, Tensor]
) -> None:
    z, labels = two_clusters
    p = drawing_probabilities(z, spec.model_copy(update={"alpha": alpha, "uniform": 0.0}))
    # Others in the same place: of a histogram's bin the datum itself is one, too.
    neighbours = (98.0, 2.0) if spec.kind == "histogram" else (97.0, 1.0)
    mean = (98 * neighbours[0] + 2 * neighbours[1]) / 100
    common, rare = (n / (n_in / mean + alpha) for n, n_in in zip((98, 2), neighbours, strict=True))
    shares = expected_shares(p, labels, torch.tensor([0, 1]))
    assert shares.tolist() == pytest.approx(
        [common / (common + rare), rare / (common + rare)], rel=1e-6
    )


@specs
def test_chances_fall_with_density(spec: ResamplingSpec) -> None:
    z = torch.distributions.Normal(0.0, 1.0).icdf(torch.linspace(0.001, 0.999, 1001))[:, None]
    p = drawing_probabilities(z, spec)[500:]  # from the centre of a normal density outwards
    assert (p.diff() >= -1e-12).all()
    assert p[-1] > 5 * p[0]


def test_the_kernel_sees_what_no_dimension_alone_shows() -> None:
    corner = torch.rand(20, 2).double() * 0.1 + torch.tensor([0.9, 0.9])
    along = torch.rand(490, 2).double()
    along[:, 1] *= 0.1
    z = torch.cat([along, along.flip(1), corner])  # an L and a spot opposite its angle
    rare = torch.arange(1000) >= 980
    by_kernel = kernel_probabilities(z, bandwidth=0.3, alpha=0.01)[rare].sum()
    by_histogram = histogram_probabilities(z, bins=10, alpha=0.01)[rare].sum()
    assert by_kernel > 5 * by_histogram


def test_landmarks_stand_for_all_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    z = torch.randn(3000, 2).double()
    by_landmarks = kernel_probabilities(z, 1.0, 0.1)
    monkeypatch.setattr("pyrovae.training.resampling.LANDMARKS", 3000)
    by_all = kernel_probabilities(z, 1.0, 0.1)
    assert not torch.equal(by_landmarks, by_all)
    assert ((by_landmarks - by_all).abs() / by_all).mean() < 0.1


def test_draws_follow_the_chances_and_differ_from_epoch_to_epoch() -> None:
    p = torch.tensor([0.5, 0.25, 0.125, 0.125]).double().repeat_interleave(5000) / 5000
    first, again, other = (drawn_order(3, epoch, p) for epoch in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert len(first) == 20_000
    found = torch.bincount(first // 5000, minlength=4) / 20_000
    errors = (found - torch.tensor([0.5, 0.25, 0.125, 0.125])) / (0.25 / 20_000) ** 0.5
    assert errors.abs().max() < 5


def test_weighted_draws_have_the_mean_of_the_data(codes: Tensor) -> None:
    p, values = drawing_probabilities(codes, HISTOGRAM), torch.randn(60).double()
    expectation = (p * importance(p) * values).sum()
    torch.testing.assert_close(expectation, values.mean(), **ROUNDING)


OBJECTIVES: dict[str, Objective] = {
    "sampled": SampledELBO(),
    "analytic": AnalyticELBO(num_particles=2),
    "analytic at once": AnalyticELBO(
        num_particles=2, max_plate_nesting=1, vectorize_particles=True
    ),
    "iwae": RenyiBound(3),
    "iwae at once": RenyiBound(3, max_plate_nesting=1, vectorize_particles=True),
    "stl": RenyiBound(3, gradient="stl"),
    "dreg": RenyiBound(2, gradient="dreg"),
    "renyi": RenyiBound(2, alpha=0.5),
}
objectives = pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES.keys())


def loss_and_gradient(
    vae: Autoencoder, objective: Objective, x: Tensor, weights: Tensor | None = None, seed: int = 0
) -> tuple[Tensor, Tensor]:
    torch.manual_seed(seed)
    vae.zero_grad()
    loss, _ = objective.loss_and_terms(vae, x, 0.5, weights)
    loss.backward()
    gradients = [p.grad.flatten() for p in vae.parameters() if p.grad is not None]
    return loss.detach(), torch.cat(gradients)


@objectives
def test_weights_of_the_draws_give_the_loss_of_the_data_in_expectation(
    make_vae: Any, objective: Objective
) -> None:
    vae = make_vae()
    x, p = vae.sample(4), torch.tensor([0.4, 0.3, 0.2, 0.1]).double()
    weights = importance(p)
    # Every batch of one datum that can be drawn, each with the random numbers of its datum.
    drawn = [
        loss_and_gradient(vae, objective, x[i : i + 1], weights[i : i + 1], seed=i)
        for i in range(4)
    ]
    plain = [loss_and_gradient(vae, objective, x[i : i + 1], seed=i) for i in range(4)]
    for in_expectation, of_the_data in zip(
        zip(*drawn, strict=True), zip(*plain, strict=True), strict=True
    ):
        expected = torch.stack(of_the_data).mean(0)
        found = torch.tensordot(p, torch.stack(in_expectation), dims=1)
        torch.testing.assert_close(found, expected, **ROUNDING)


@objectives
def test_a_batchs_weights_are_of_its_data(make_vae: Any, objective: Objective) -> None:
    """The loss is linear in them: with ones, it is the loss; its derivatives are per datum."""
    vae = make_vae()
    x = vae.sample(3)
    plain, gradient = loss_and_gradient(vae, objective, x)
    ones, same = loss_and_gradient(vae, objective, x, torch.ones(3).double())
    torch.testing.assert_close((ones, same), (plain, gradient), **ROUNDING)
    each = [loss_and_gradient(vae, objective, x, 1e-9 + 3 * row) for row in torch.eye(3).double()]
    mean = [torch.stack(column).mean(0) for column in zip(*each, strict=True)]
    torch.testing.assert_close(mean, [plain, gradient], rtol=1e-6, atol=1e-7)
    assert not torch.allclose(each[0][0], each[1][0])


class Switches(Autoencoder):
    """A latent site that cannot be reparameterised: Pyro's own estimator is used."""

    vectorisable = True

    def __init__(self) -> None:
        super().__init__()
        self.prior = torch.nn.Parameter(torch.tensor([0.3, -0.2]).double())
        self.slope = torch.nn.Parameter(torch.tensor([0.5, -1.0]).double())

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Bernoulli(logits=self.prior).to_event(1))
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Bernoulli(logits=self.slope * x).to_event(1))

    def formulas(self) -> Formulas:
        return Formulas("Bernoulli", "Normal", "Bernoulli")


def test_a_score_function_gradient_is_weighted_too() -> None:
    switches, x = Switches(), torch.randn(1, 2).double()
    for seed in range(3):
        loss, gradient = loss_and_gradient(switches, SampledELBO(), x, seed=seed)
        twice = loss_and_gradient(
            switches, SampledELBO(), x, torch.tensor([2.0]).double(), seed=seed
        )
        torch.testing.assert_close(twice, (2 * loss, 2 * gradient), **ROUNDING)


@objectives
def test_terms_are_reported_without_weights(make_vae: Any, objective: Objective) -> None:
    vae = make_vae()
    x, weights = vae.sample(3), torch.tensor([0.1, 1.0, 7.0]).double()
    found = []
    for chosen in (None, weights):
        torch.manual_seed(0)
        found.append(objective.loss_and_terms(vae, x, 0.5, chosen)[1])
    torch.testing.assert_close(found[0][:3], found[1][:3], **ROUNDING)


class Fitting:
    """A training whose draws are watched."""

    def __init__(self, data: Splits, **inference: Any) -> None:
        spec = validate({"epochs": 2, "batch_size": 16, **inference}, InferenceSpec, "inference")
        self.training = Training(build("vae", spec, data), data, spec)
        torch.manual_seed(0)

    def run(self) -> list[Record]:
        return self.training.run()


RESAMPLED = {"kind": "histogram", "bins": 4, "alpha": 0.01}


def test_without_the_option_every_epoch_has_the_order_it_always_had(few_digits: Splits) -> None:
    training = Fitting(few_digits).training
    assert torch.equal(training._order(), epoch_order(0, 0, len(few_digits.train)))
    training.run()
    assert "probabilities" not in training.state_dict()
    assert training.take_step.importance is None
    assert "draws " not in plan(training, "here")


def test_draws_are_by_the_codes_at_the_beginning_of_the_epoch(few_digits: Splits) -> None:
    from pyrovae.evaluation.latent_means import codes

    training = Fitting(few_digits, resampling=RESAMPLED).training
    spec = training.spec.resampling
    assert spec is not None
    expected = [drawing_probabilities(codes(training.autoencoder, training.splits.train), spec)]
    used: list[Tensor] = []
    orders: list[Tensor] = []

    class Watch(Callback):
        def on_step(self, training: Training) -> None:
            if training.step % training.budget.steps_per_epoch == 1:
                assert training.probabilities is not None
                used.append(training.probabilities)
                orders.append(drawn_order(0, len(orders), training.probabilities))

        def on_epoch_end(self, training: Training, records: Any) -> None:
            z = codes(training.autoencoder, training.splits.train)
            expected.append(drawing_probabilities(z, spec))

    seen: list[int] = []
    step = training.take_step.batch
    training.take_step.batch = lambda index: (seen.extend(index.tolist()), step(index))[1]  # type: ignore[method-assign]
    training.run([Watch()])
    for p, q in zip(used, expected[:2], strict=True):
        assert torch.equal(p, q)
    assert seen == torch.cat(orders).tolist()
    assert "1 / (density + 0.01)" in plan(training, "here")


@pytest.mark.parametrize("kind", ["elbo", "iwae", "renyi", "free_bits", "capacity", "tc", "mmd"])
@specs
def test_every_objective_can_be_fitted_to_resampled_data(
    few_digits: Splits, kind: str, spec: ResamplingSpec
) -> None:
    history = Fitting(
        few_digits, objective={"kind": kind}, resampling=spec.model_dump(), epochs=1
    ).run()
    assert all(abs(r.elbo - (r.reconstruction - r.kl)) < 1e-8 for r in history)


@pytest.mark.parametrize("kind", ["elbo", "iwae", "renyi"])
def test_sums_over_data_can_be_weighted_and_the_rest_is_refused(
    few_digits: Splits, kind: str
) -> None:
    weighted = {**RESAMPLED, "importance_weights": True}
    assert Fitting(few_digits, objective={"kind": kind}, resampling=weighted).run()


@pytest.mark.parametrize("kind", ["free_bits", "capacity", "tc", "mmd"])
def test_what_is_no_sum_over_data_cannot_be_weighted(kind: str) -> None:
    tree = {
        "objective": {"kind": kind},
        "resampling": {**RESAMPLED, "importance_weights": True},
    }
    with pytest.raises(SpecError, match=f"importance_weights = true .* '{kind}' is no sum"):
        validate(tree, InferenceSpec, "inference")


def test_the_reported_training_elbo_is_that_of_the_data_and_not_of_the_draws(
    few_digits: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is learned, so that the truth is known: what evaluation says of the split."""
    from pyrovae.evaluation.bound import evaluate

    still = {"kind": "adam", "learning_rate": 1e-12}
    fitting = Fitting(few_digits, resampling=RESAMPLED, optimiser=still, epochs=40).training
    train = fitting.splits.train
    few = train.batch(torch.arange(len(train))).x
    best = fitting.objective.loss_and_terms(fitting.autoencoder, few)[1].elbo.topk(4).indices
    p = torch.full((len(train),), 0.5 / 36, dtype=torch.float64)
    p[best] = 0.5 / 4  # half of the draws are of these
    monkeypatch.setattr("pyrovae.training.loop.drawing_probabilities", lambda *_: p)
    history = [record for record in fitting.run() if record.split == "train"]
    truth = evaluate(fitting.autoencoder, train).elbo
    elbo = torch.tensor([record.elbo for record in history])
    loss = torch.tensor([record.loss for record in history])
    spread = elbo.std() / len(elbo) ** 0.5
    assert abs(elbo.mean() - truth) < 5 * spread
    assert -loss.mean() > truth + 10 * spread  # what was drawn is another matter


def test_codes_that_are_not_finite_end_training_with_a_sentence(
    few_digits: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = Fitting(few_digits, resampling=RESAMPLED).training
    with torch.no_grad():
        for parameter in training.autoencoder.parameters():
            parameter.fill_(torch.nan)
    with pytest.raises(
        DivergenceError, match="epoch 1, step 1: the latent of an observation is not finite"
    ):
        training.run()


@pytest.mark.parametrize("importance_weights", [False, True])
def test_looking_at_epochs_only_gives_the_same_training(
    few_digits: Splits,
    parameters_of: Callable[[Any], dict[str, Tensor]],
    importance_weights: bool,
) -> None:
    resampling = {**RESAMPLED, "importance_weights": importance_weights}
    found = []
    for anomaly_mode in (True, False):
        training = Fitting(few_digits, resampling=resampling).training
        training.anomaly_mode = anomaly_mode
        training.run()
        found.append(parameters_of(training.autoencoder))
    for name, value in found[0].items():
        assert torch.equal(value, found[1][name])


def test_an_epoch_that_is_repeated_has_the_draws_it_had(few_digits: Splits) -> None:
    whole = Fitting(few_digits, resampling=RESAMPLED, epochs=3)
    whole.run()
    spoiled = Fitting(few_digits, resampling=RESAMPLED, epochs=3).training
    assert not spoiled.anomaly_mode

    class Spoil(Callback):
        """Once, in the second epoch, a loss that is not finite."""

        done = False

        def on_step(self, training: Training) -> None:
            if training.step == training.budget.steps_per_epoch + 2 and not self.done:
                self.done = True
                training.tally.sums.mul_(torch.nan)

    spoiled.run([Spoil()])
    assert spoiled.anomaly_mode
    for mine, theirs in zip(
        spoiled.autoencoder.parameters(), whole.training.autoencoder.parameters(), strict=True
    ):
        assert torch.equal(mine, theirs)
