"""Evaluation changes nothing, and what it reports adds up."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pyro
import pytest
import torch
from pyro import poutine
from torch import Tensor, nn

from pyrovae import VAE, InferenceSpec, ModelSpec, Splits, build, fit
from pyrovae.compute.modes import evaluating
from pyrovae.evaluation.bound import evaluate
from pyrovae.evaluation.latent_means import ACTIVE_VARIANCE, active_dimensions, codes
from pyrovae.evaluation.metrics import BoundSummary, Layout, RunningSums, sums
from pyrovae.evaluation.reconstruction import prior_means, reconstruct
from pyrovae.objectives import AnalyticELBO, SampledELBO
from pyrovae.objectives.terms import ELBOTerms
from pyrovae.training.records import Record

TANH = {"kind": "mlp", "widths": (6,), "activation": "tanh"}


@pytest.fixture
def vae(few_digits: Splits) -> VAE:
    return build(ModelSpec(latent_dim=2, decoder=TANH), "svi", few_digits)


ANALYSES: dict[str, Callable[[VAE, Splits], Any]] = {
    "evaluate": lambda vae, data: evaluate(vae, data.train, SampledELBO()),
    "codes": lambda vae, data: codes(vae, data.train),
    "reconstruct": lambda vae, data: reconstruct(vae, data.train.batch(torch.arange(4)).x),
    "prior_means": lambda vae, data: prior_means(vae, data.train.batch(torch.arange(4)).x),
}
every_look = pytest.mark.parametrize("look", ANALYSES.values(), ids=ANALYSES.keys())


@every_look
def test_evaluation_leaves_parameters_and_gradients(
    vae: VAE, few_digits: Splits, look: Any, parameters_of: Callable[..., Any]
) -> None:
    AnalyticELBO().loss_and_terms(vae, few_digits.train.batch(torch.arange(4)).x)[0].backward()
    before = parameters_of(vae)
    gradients = {name: p.grad.clone() for name, p in vae.named_parameters()}
    look(vae, few_digits)
    for name, parameter in vae.named_parameters():
        assert torch.equal(parameter, before[name])
        assert torch.equal(parameter.grad, gradients[name])
        assert parameter.requires_grad


def modes(module: nn.Module) -> dict[str, bool]:
    return {name: part.training for name, part in module.named_modules()}


@every_look
@pytest.mark.parametrize("training", [True, False])
def test_evaluation_leaves_the_mode(
    vae: VAE, few_digits: Splits, look: Any, training: bool
) -> None:
    vae.train(training)
    before = modes(vae)
    look(vae, few_digits)
    assert modes(vae) == before


def test_evaluation_leaves_the_mode_of_a_part_that_was_frozen(
    vae: VAE, few_digits: Splits
) -> None:
    vae.train()
    vae.posterior.encoder.eval()
    before = modes(vae)
    evaluate(vae, few_digits.train, AnalyticELBO())
    assert modes(vae) == before


@every_look
def test_evaluation_leaves_the_random_stream(vae: VAE, few_digits: Splits, look: Any) -> None:
    before = torch.get_rng_state()
    look(vae, few_digits)
    assert torch.equal(torch.get_rng_state(), before)


@every_look
def test_evaluation_leaves_what_pyros_store_holds(vae: VAE, few_digits: Splits, look: Any) -> None:
    kept = pyro.param("kept", torch.tensor(1.5))
    look(vae, few_digits)
    pointers = {parameter.data_ptr() for parameter in vae.parameters()}
    store = dict(pyro.get_param_store().named_parameters())
    assert store.pop("kept") is kept
    assert {value.data_ptr() for value in store.values()} <= pointers


@every_look
def test_evaluation_leaves_validation_and_gradients_switched_on(
    vae: VAE, few_digits: Splits, look: Any
) -> None:
    look(vae, few_digits)
    assert torch.is_grad_enabled()
    with pytest.raises(ValueError, match="scale"):
        pyro.distributions.Normal(0.0, -1.0)


def same(first: Any, second: Any) -> bool:
    return torch.equal(first, second) if isinstance(first, Tensor) else first == second


@every_look
def test_evaluation_is_the_same_twice(vae: VAE, few_digits: Splits, look: Any) -> None:
    first = look(vae, few_digits)
    torch.manual_seed(17)
    assert same(first, look(vae, few_digits))


@every_look
def test_evaluation_is_in_evaluation_mode_and_without_gradients(
    vae: VAE, few_digits: Splits, look: Any
) -> None:
    seen: list[tuple[bool, bool]] = []

    def watch(module: nn.Module, *_: object) -> None:
        seen.append((module.training, torch.is_grad_enabled()))

    vae.train()
    vae.decoder.register_forward_hook(watch)
    look(vae, few_digits)
    assert set(seen) == {(False, False)}


def test_dropout_is_off_in_evaluation(vae: VAE, few_digits: Splits) -> None:
    plain = evaluate(vae, few_digits.train, AnalyticELBO())
    vae.posterior.encoder.layers.append(nn.Dropout(0.5))
    assert evaluate(vae, few_digits.train, AnalyticELBO()) == plain


def test_the_mode_comes_back_when_evaluation_fails(vae: VAE) -> None:
    state = torch.get_rng_state()
    with pytest.raises(KeyError), evaluating(vae):
        raise KeyError
    assert vae.training
    assert torch.equal(torch.get_rng_state(), state)


SHORT = {"epochs": 2, "batch_size": 16}


@pytest.fixture(
    params=["normal-diagonal", "normal-full_rank", "mixture-diagonal", "vamp-full_rank"]
)
def history(request: pytest.FixtureRequest, few_digits: Splits) -> list[Record]:
    prior, guide = request.param.split("-")
    inference = InferenceSpec(
        guide={"kind": guide}, beta={"kind": "linear", "warmup_epochs": 2}, **SHORT
    )
    model = ModelSpec(latent_dim=2, prior={"kind": prior}, decoder=TANH)
    return fit(build(model, inference, few_digits), few_digits, inference)


def test_the_elbo_of_every_record_is_reconstruction_minus_kl(history: list[Record]) -> None:
    assert len(history) == 4
    for record in history:
        assert record.elbo == pytest.approx(record.reconstruction - record.kl, rel=1e-12)


def test_the_kl_of_every_record_is_the_sum_of_its_parts(history: list[Record]) -> None:
    for record in history:
        assert record.kl == pytest.approx(sum(record.kl_per_site.values()), rel=1e-12)
        if record.kl_per_dim is not None:
            assert len(record.kl_per_dim) == 2
            assert sum(record.kl_per_dim) == pytest.approx(record.kl, rel=1e-12)


def test_only_kls_that_factorise_are_given_per_dimension(vae: VAE, few_digits: Splits) -> None:
    assert evaluate(vae, few_digits.train, AnalyticELBO()).kl_per_dim is not None
    full_rank = build(ModelSpec(latent_dim=2, decoder=TANH), "full_rank", few_digits)
    assert evaluate(full_rank, few_digits.train, AnalyticELBO()).kl_per_dim is None


def test_the_elbo_of_an_evaluation_does_not_depend_on_beta(vae: VAE, few_digits: Splits) -> None:
    one, four = (evaluate(vae, few_digits.train, SampledELBO(), beta=b) for b in (1.0, 4.0))
    assert (one.elbo, one.kl, one.reconstruction) == (four.elbo, four.kl, four.reconstruction)


def test_an_analytic_loss_is_beta_kl_minus_reconstruction(vae: VAE, few_digits: Splits) -> None:
    for beta in (0.0, 1.0, 4.0):
        summary = evaluate(vae, few_digits.train, AnalyticELBO(), beta=beta)
        expected = beta * summary.kl - summary.reconstruction
        assert summary.loss == pytest.approx(expected, rel=1e-5)  # batches in float32


def test_codes_are_the_means_of_the_guide_in_the_order_of_the_data(
    vae: VAE, few_digits: Splits
) -> None:
    x = few_digits.train.batch(torch.arange(len(few_digits.train))).x
    expected = vae.encode(x).mean.detach()
    torch.testing.assert_close(codes(vae, few_digits.train), expected)


def test_pictures_are_reconstructions_at_the_means(vae: VAE, few_digits: Splits) -> None:
    x = few_digits.train.batch(torch.arange(4)).x
    torch.testing.assert_close(reconstruct(vae, x), vae.reconstruct(x))


def test_means_at_codes_of_the_prior_are_means_of_the_likelihood(
    vae: VAE, few_digits: Splits
) -> None:
    x = few_digits.train.batch(torch.arange(4)).x
    with evaluating(vae):
        site = poutine.trace(vae.model).get_trace(x).nodes["z"]
        expected = vae.decode(site["value"]).mean
    torch.testing.assert_close(prior_means(vae, x), expected)


def test_dimensions_whose_mean_does_not_vary_are_not_active() -> None:
    spread = torch.tensor([0.0, 0.5, 0.99, 1.01, 2.0]) * ACTIVE_VARIANCE**0.5
    alternating = torch.tensor([1.0, -1.0]).repeat(5000)[:, None]
    assert active_dimensions(3.0 + alternating * spread) == 2
    assert active_dimensions(torch.full((10, 3), 7.0)) == 0


def random_terms(count: int) -> ELBOTerms:
    per_dim = torch.rand(count, 3).double()
    return ELBOTerms(
        reconstruction=torch.randn(count).double() - 5,
        kl={"z": per_dim.sum(-1), "w": torch.rand(count).double()},
        kl_per_dim={"z": per_dim},
        kl_kind={"z": "exact", "w": "sampled"},
    )


def test_a_summary_is_the_mean_over_all_data_of_uneven_batches() -> None:
    counts = (7, 1, 12)
    batches = [random_terms(count) for count in counts]
    losses = torch.rand(len(counts)).double()
    tally = RunningSums(Layout.of(batches[0]), torch.device("cpu"))
    for loss, terms, count in zip(losses, batches, counts, strict=True):
        tally.add(sums(loss, terms), count)
    summary = tally.summary()
    elbo = torch.cat([terms.elbo for terms in batches])
    assert summary.count == 20
    assert summary.elbo == pytest.approx(elbo.mean().item(), rel=1e-12)
    assert math.isnan(summary.standard_error)  # running sums do not hold it
    rows = torch.stack([sums(loss, part) for loss, part in zip(losses, batches, strict=True)])
    error = BoundSummary.of(rows, tally.layout, 20).standard_error
    assert error == pytest.approx(elbo.std().item() / math.sqrt(20), rel=1e-12)
    assert summary.loss == pytest.approx((losses * torch.tensor(counts)).sum().item() / 20)
    for site in ("z", "w"):
        kl = torch.cat([terms.kl[site] for terms in batches])
        assert summary.kl_per_site[site] == pytest.approx(kl.mean().item(), rel=1e-12)
    assert summary.kl == pytest.approx(sum(summary.kl_per_site.values()))
    assert summary.reconstruction - summary.kl == pytest.approx(summary.elbo, rel=1e-12)
    assert summary.kl_per_dim is None  # site "w" has none


def test_a_summary_gives_the_mean_kl_of_every_dimension() -> None:
    per_dim, totals = torch.rand(9, 3).double(), []
    for rows in per_dim.split([5, 1, 3]):
        kl = {"z": rows.sum(-1)}
        terms = ELBOTerms(torch.zeros(len(rows)).double(), kl, {"z": rows}, {"z": "exact"})
        totals.append(sums(torch.zeros(()), terms))
    summary = BoundSummary.of(torch.stack(totals).sum(0), Layout.of(terms), 9)
    assert summary.kl_per_dim == pytest.approx(per_dim.mean(0).tolist(), rel=1e-12)


def test_weights_stand_for_repeated_data() -> None:
    terms, loss = random_terms(4), torch.rand(()).double()
    times = torch.tensor([1, 3, 2, 1])
    repeated = ELBOTerms(
        terms.reconstruction.repeat_interleave(times),
        {site: kl.repeat_interleave(times) for site, kl in terms.kl.items()},
        {site: kl.repeat_interleave(times, 0) for site, kl in terms.kl_per_dim.items()},
        terms.kl_kind,
    )
    layout = Layout.of(terms)
    first = BoundSummary.of(sums(loss, terms, times), layout, 4)
    second = BoundSummary.of(sums(loss, repeated), layout, 7)
    assert (first.count, second.count) == (4, 7)
    assert first.loss == pytest.approx(second.loss)  # as it was optimised
    for name in ("elbo", "reconstruction", "kl"):
        assert getattr(first, name) == pytest.approx(getattr(second, name), rel=1e-12)
    assert first.kl_per_site == pytest.approx(second.kl_per_site)


def test_one_datum_has_no_standard_error() -> None:
    terms = random_terms(1)
    summary = BoundSummary.of(sums(torch.zeros(()), terms), Layout.of(terms), 1)
    assert summary.standard_error == 0


def test_a_tally_goes_on_from_its_state() -> None:
    before, after = random_terms(4), random_terms(3)
    layout, ones = Layout.of(before), torch.ones(())
    whole, first, second = (RunningSums(layout, torch.device("cpu")) for _ in range(3))
    for tally, terms in ((whole, before), (whole, after), (first, before)):
        tally.add(sums(ones, terms), len(terms.reconstruction))
    state = first.state_dict()
    first.add(sums(ones, after), 3)  # a state is a copy
    second.load_state_dict(state)
    second.add(sums(ones, after), 3)
    assert second.summary() == whole.summary() == first.summary()


def test_a_tally_begins_anew() -> None:
    terms = random_terms(4)
    used, fresh = (RunningSums(Layout.of(terms), torch.device("cpu")) for _ in range(2))
    used.add(sums(torch.ones(()), random_terms(3)), 3)
    used.reset()
    for tally in (used, fresh):
        tally.add(sums(torch.ones(()), terms), 4)
    assert used.summary() == fresh.summary()


@pytest.mark.parametrize("spoiled", [torch.nan, torch.inf])
def test_a_loss_that_was_not_finite_is_not_forgotten(spoiled: float) -> None:
    terms = random_terms(4)
    tally = RunningSums(Layout.of(terms), torch.device("cpu"))
    for loss in (1.0, spoiled, 1.0):
        assert tally.loss.isfinite() == (tally.count < 8)
        tally.add(sums(torch.tensor(loss), terms), 4)
    assert not tally.loss.isfinite()
