"""The two programs of a VAE in Pyro's own tools."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import (
    MCMC,
    NUTS,
    SVI,
    Predictive,
    RenyiELBO,
    Trace_ELBO,
    TraceMeanField_ELBO,
)
from pyro.ops.stats import effective_sample_size
from pyro.poutine.util import prune_subsample_sites
from torch import Tensor

from pyrovae import VAE, InferenceSpec, ModelSpec, Splits, build, fit
from pyrovae.compute.randomness import seeded
from pyrovae.errors import SpecError
from pyrovae.parts.families import DiagonalNormal
from pyrovae.parts.guides import Guide
from pyrovae.parts.likelihoods import BernoulliLikelihood
from pyrovae.parts.networks import MLPDecoder, MLPEncoder
from pyrovae.parts.priors import NormalPrior
from pyrovae.training.order import epoch_order

SHAPE = (5,)
LOSSES = {
    "sampled": Trace_ELBO(),
    "analytic": TraceMeanField_ELBO(),
    "importance": RenyiELBO(0.0, 4, max_plate_nesting=1, vectorize_particles=True),
    "renyi": RenyiELBO(0.5, 4),
}
all_losses = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES.keys())


def easy_data(count: int) -> Tensor:
    """Two patterns that are each other's opposites."""
    pattern = torch.tensor([1.0, 1.0, 0.0, 0.0, 1.0], dtype=torch.float64)
    return torch.stack([pattern, 1 - pattern]).repeat(count // 2, 1)


def stock_svi(vae: VAE, loss: Any) -> SVI:
    return SVI(vae.model, vae.guide, pyro.optim.Adam({"lr": 0.05}), loss)


@all_losses
def test_stock_svi_lowers_every_loss(make_vae: Any, loss: Any) -> None:
    assert_loss_is_lowered(make_vae(), loss)


def test_stock_svi_lowers_the_loss_under_every_prior(make_vae: Any, prior: str) -> None:
    assert_loss_is_lowered(make_vae(prior), LOSSES["sampled"])


def assert_loss_is_lowered(vae: VAE, loss: Any) -> None:
    x = easy_data(20)
    svi = stock_svi(vae, loss)
    # The best that ignores the code is 5 ln 2 = 3.5 nats a datum, and all there is to know is
    # ln 2 = 0.7; a nat below the former is far beyond the noise of a mean over ten steps.
    for _ in range(40):
        mean = sum(svi.step(x) / len(x) for _ in range(10)) / 10
        if mean < 5 * math.log(2) - 1:
            return
    pytest.fail(f"a loss of {mean:.2f} nats after 400 steps")


@all_losses
def test_stock_svi_moves_every_parameter_under_every_loss(
    make_vae: Any, prior: str, loss: Any, parameters_of: Callable[..., Any]
) -> None:
    assert_every_parameter_moves(make_vae(prior), loss, parameters_of)


def test_stock_svi_moves_every_parameter(
    make_vae: Any, prior_and_guide: tuple[str, str], parameters_of: Callable[..., Any]
) -> None:
    assert_every_parameter_moves(make_vae(*prior_and_guide), LOSSES["sampled"], parameters_of)


def assert_every_parameter_moves(vae: VAE, loss: Any, parameters_of: Callable[..., Any]) -> None:
    before = parameters_of(vae)
    stock_svi(vae, loss).step(easy_data(6))
    after = parameters_of(vae)
    assert [name for name in before if torch.equal(before[name], after[name])] == []


@pytest.mark.parametrize("parallel", [False, True])
def test_predictive_draws_codes_and_data_from_the_model(
    make_vae: Any, prior: str, parallel: bool
) -> None:
    draws = Predictive(make_vae(prior).model, num_samples=7, parallel=parallel)()
    assert draws["x"].shape == (7, 1, *SHAPE)
    assert draws["z"].shape == (7, 1, 2)


def test_predictive_draws_as_many_data_as_asked_for(make_vae: Any) -> None:
    draws = Predictive(make_vae().model, num_samples=7, parallel=True)(size=4)
    assert draws["x"].shape == (7, 4, *SHAPE)


@pytest.mark.parametrize("parallel", [False, True])
def test_predictive_draws_codes_from_the_guide(
    make_vae: Any, z_score: Any, guide_with_density: str, parallel: bool
) -> None:
    vae, x = make_vae(guide=guide_with_density), easy_data(4)
    sites = {"return_sites": ("z", "x"), "parallel": parallel}
    draws = Predictive(vae.model, guide=vae.guide, num_samples=200, **sites)(x)
    assert draws["x"].shape == (200, 4, *SHAPE)
    assert draws["z"].shape == (200, 4, 2)
    assert z_score(draws["z"] - vae.encode(x).sample((200,)), 0.0) < 5


def test_traces_have_the_sites_z_and_x_inside_one_plate(make_vae: Any, prior: str) -> None:
    vae, x = make_vae(prior), easy_data(4)
    model = prune_subsample_sites(poutine.trace(vae.model).get_trace(x))
    guide = prune_subsample_sites(poutine.trace(vae.guide).get_trace(x))
    model.compute_log_prob()
    assert model.stochastic_nodes == guide.stochastic_nodes == ["z"]
    assert model.observation_nodes == ["x"]
    for site in (model.nodes["z"], model.nodes["x"], guide.nodes["z"]):
        assert [frame.name for frame in site["cond_indep_stack"]] == ["data"]
    assert model.nodes["z"]["log_prob"].shape == model.nodes["x"]["log_prob"].shape == (4,)


def test_nuts_finds_the_posterior_of_the_linear_gaussian_model(make_linear_gaussian: Any) -> None:
    oracle = make_linear_gaussian(data=2)
    sampler = MCMC(NUTS(oracle.vae.model), num_samples=200, warmup_steps=60, disable_progbar=True)
    sampler.run(oracle.x)
    z, posterior = sampler.get_samples()["z"], oracle.posterior
    squares = (z - posterior.mean).square()
    for draws, expected in ((z, posterior.mean), (squares, posterior.variance)):
        independent = effective_sample_size(draws[None], chain_dim=0, sample_dim=1)
        standard_error = draws.std(0) / independent.sqrt()
        assert ((draws.mean(0) - expected).abs() < 5 * standard_error).all()
        assert (standard_error < 0.2 * posterior.stddev).all()  # the test has teeth


def test_the_joint_density_is_the_prior_times_the_likelihood(make_vae: Any, prior: str) -> None:
    vae, x = make_vae(prior), easy_data(4)
    z = torch.randn(4, 2).double()
    given = poutine.condition(vae.model, data={"z": z})
    joint = poutine.trace(given).get_trace(x).log_prob_sum()
    by_hand = vae.prior(vae.posterior).log_prob(z).sum() + vae.decode(z).log_prob(x).sum()
    torch.testing.assert_close(joint, by_hand)


@pytest.mark.parametrize("size", [4, 12, 400])
def test_a_batch_counts_for_as_many_data_as_it_stands_for(make_vae: Any, size: int) -> None:
    vae, x = make_vae(), easy_data(4)

    def log_density(program: Callable[..., Any], **options: int) -> Tensor:
        torch.manual_seed(1)
        return poutine.trace(program).get_trace(x, **options).log_prob_sum()

    for program in (vae.model, vae.guide):
        scaled = log_density(program) * size / len(x)
        torch.testing.assert_close(log_density(program, size=size), scaled)


def train_a_little(vae: VAE) -> None:
    svi = stock_svi(vae, Trace_ELBO())
    for _ in range(3):
        svi.step(easy_data(6))


def assert_apart(first: VAE, second: VAE, parameters_of: Callable[..., Any]) -> None:
    """Training the first leaves the second bitwise as it was, and moves the first."""
    untouched, moved = parameters_of(second), parameters_of(first)
    train_a_little(first)
    for name, parameter in second.named_parameters():
        assert torch.equal(parameter, untouched[name])
    for name, parameter in first.named_parameters():
        assert not torch.equal(parameter, moved[name])


def test_two_autoencoders_in_one_process_train_apart(
    make_vae: Any, prior: str, parameters_of: Callable[..., Any]
) -> None:
    first, second = make_vae(prior), make_vae(prior)
    train_a_little(second)  # both are in Pyro's store before either is looked at
    assert_apart(first, second, parameters_of)
    assert_apart(second, first, parameters_of)


def test_a_copy_trains_apart_from_its_original(
    make_vae: Any, prior: str, parameters_of: Callable[..., Any]
) -> None:
    original = make_vae(prior)
    train_a_little(original)
    duplicate = copy.deepcopy(original)
    assert_apart(duplicate, original, parameters_of)
    assert_apart(original, duplicate, parameters_of)


def test_every_autoencoder_has_entries_of_its_own_in_pyros_store(make_vae: Any) -> None:
    original = make_vae()
    vaes = [original, make_vae(), copy.deepcopy(original)]
    for vae in vaes:
        train_a_little(vae)
    stored = [value.unconstrained().data_ptr() for value in dict(pyro.get_param_store()).values()]
    owned = [parameter.data_ptr() for vae in vaes for parameter in vae.parameters()]
    assert sorted(stored) == sorted(owned)


@pytest.mark.parametrize("batch", [(), (4,), (3, 4)])
def test_densities_have_the_batch_of_what_they_are_given(
    make_vae: Any, prior_and_guide: tuple[str, str], batch: tuple[int, ...]
) -> None:
    vae = make_vae(*prior_and_guide)
    p, q = vae.prior(vae.posterior), vae.encode(torch.rand(*batch, *SHAPE).double())
    assert (p.batch_shape, p.event_shape) == ((), (2,))
    assert (q.batch_shape, q.event_shape) == (batch, (2,))


@pytest.mark.parametrize("batch", [(), (4,), (3, 4)])
def test_likelihoods_have_the_batch_of_what_they_are_given(
    make_vae: Any, likelihood: dict[str, Any], batch: tuple[int, ...]
) -> None:
    px = make_vae(likelihood=likelihood).decode(torch.randn(*batch, 2).double())
    assert (px.batch_shape, px.event_shape) == (batch, SHAPE)


def test_samples_and_reconstructions_have_the_shape_of_data_and_no_gradient(
    make_vae: Any, prior_and_guide: tuple[str, str]
) -> None:
    assert_draws_data(make_vae(*prior_and_guide))


def test_every_likelihood_draws_data(make_vae: Any, likelihood: dict[str, Any]) -> None:
    assert_draws_data(make_vae(likelihood=likelihood))


def assert_draws_data(vae: VAE) -> None:
    drawn, again = vae.sample(6), vae.reconstruct(vae.sample(6).reshape(3, 2, *SHAPE))
    assert drawn.shape == (6, *SHAPE)
    assert again.shape == (3, 2, *SHAPE)
    assert not drawn.requires_grad
    assert not again.requires_grad


def test_samples_have_the_mean_of_the_model(make_linear_gaussian: Any, z_score: Any) -> None:
    vae = make_linear_gaussian().vae
    assert z_score(vae.sample(4000), vae.decoder.last.bias.detach()) < 5


def test_a_reconstruction_is_the_decoder_at_the_posterior_mean(make_linear_gaussian: Any) -> None:
    oracle = make_linear_gaussian()
    expected = oracle.vae.decoder(oracle.posterior.mean).squeeze(-2).detach()
    torch.testing.assert_close(oracle.vae.reconstruct(oracle.x), expected)


def test_codes_of_different_lengths_are_refused() -> None:
    with pytest.raises(SpecError, match="length 2 and the guide's 3"):
        VAE(
            prior=NormalPrior(2),
            decoder=MLPDecoder(2, SHAPE),
            likelihood=BernoulliLikelihood(SHAPE),
            guide=Guide(MLPEncoder(SHAPE, (4,)), DiagonalNormal(4, 3)),
        )


SMALL = ModelSpec(latent_dim=2, decoder={"kind": "mlp", "widths": (6,), "activation": "tanh"})
BRIEF = InferenceSpec(epochs=3, batch_size=20, objective={"kind": "elbo", "kl": "analytic"})


def batches(splits: Splits) -> list[Tensor]:
    """The batches of a brief training, in its order."""
    epochs = [epoch_order(BRIEF.seed, epoch, len(splits.train)) for epoch in range(BRIEF.epochs)]
    return [
        splits.train.batch(index).x for order in epochs for index in order.split(BRIEF.batch_size)
    ]


def assert_same_weights(first: VAE, second: VAE) -> None:
    # Adam divides by the root of a squared gradient, which spreads float32 roundings.
    torch.testing.assert_close(first.state_dict(), second.state_dict(), rtol=1e-4, atol=1e-6)


def test_training_is_pyros_loss_per_datum_under_torchs_adam(few_digits: Splits) -> None:
    fitted = build(SMALL, BRIEF, few_digits)
    reference = copy.deepcopy(fitted)
    fit(fitted, few_digits, BRIEF)
    optimiser = torch.optim.Adam(reference.parameters(), lr=BRIEF.optimiser.learning_rate)
    with seeded(BRIEF.seed):
        for x in batches(few_digits):
            optimiser.zero_grad()
            loss = TraceMeanField_ELBO().differentiable_loss(reference.model, reference.guide, x)
            (loss / len(x)).backward()
            optimiser.step()
    assert_same_weights(fitted, reference)


def test_training_is_pyros_svi(few_digits: Splits) -> None:
    fitted = build(SMALL, BRIEF, few_digits)
    reference = copy.deepcopy(fitted)
    fit(fitted, few_digits, BRIEF)
    per_datum = poutine.scale(scale=1 / BRIEF.batch_size)
    svi = SVI(
        per_datum(reference.model),
        per_datum(reference.guide),
        pyro.optim.Adam({"lr": BRIEF.optimiser.learning_rate}),
        TraceMeanField_ELBO(),
    )
    with seeded(BRIEF.seed):
        for x in batches(few_digits):
            svi.step(x)
    assert_same_weights(fitted, reference)


def test_training_is_the_same_twice_and_leaves_the_random_stream(few_digits: Splits) -> None:
    first = build(SMALL, BRIEF, few_digits)
    second = copy.deepcopy(first)
    state = torch.get_rng_state()
    fit(first, few_digits, BRIEF)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(99)
    fit(second, few_digits, BRIEF)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name])


def test_every_epoch_sees_every_datum_once_in_an_order_of_its_own() -> None:
    orders = [epoch_order(seed, epoch, 50) for seed in (0, 1) for epoch in range(3)]
    assert len({tuple(order.tolist()) for order in orders}) == len(orders)
    for order in orders:
        assert torch.equal(order.sort().values, torch.arange(50))
