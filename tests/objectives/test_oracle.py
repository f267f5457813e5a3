"""Where p(x) and p(z | x) are in closed form, the bounds have to agree with them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from pyro.infer import RenyiELBO, Trace_ELBO
from torch import Tensor
from torch.distributions import kl_divergence

from pyrovae import VAE
from pyrovae.data import Dataset
from pyrovae.evaluation.bound import evaluate
from pyrovae.objectives import AnalyticELBO, Objective, SampledELBO

# Sums of a dozen log-densities of order ten, through a matrix inverse: far below 1e-10 in
# float64, while the smallest planted error costs 1e-5 nats.
EXACT = 1e-10
PARTICLES = {"max_plate_nesting": 1, "vectorize_particles": True}

both_guides = pytest.mark.parametrize("guide", ["diagonal", "full_rank"])
both_priors = pytest.mark.parametrize("prior", ["normal", "mixture"])


def shift_mean(vae: VAE) -> None:
    vae.posterior.family.loc.bias += 0.3


def stretch_mean(vae: VAE) -> None:
    vae.posterior.family.loc.weight *= 1.3


def widen(vae: VAE) -> None:
    vae.posterior.family.scale.bias += 0.5


def forget_correlation(vae: VAE) -> None:
    vae.posterior.family.below.bias.zero_()


def change_decoder(vae: VAE) -> None:
    vae.decoder.last.weight *= 1.2


MISTAKES = [shift_mean, stretch_mean, widen, forget_correlation, change_decoder]
mistakes = pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.__name__)


@pytest.fixture
def make_wrong(make_linear_gaussian: Any) -> Callable[..., Any]:
    """A linear-Gaussian autoencoder whose guide is no longer the posterior of its model."""

    def make(mistake: Callable[[VAE], None], prior: str = "normal") -> Any:
        oracle = make_linear_gaussian(prior=prior)
        with torch.no_grad():
            mistake(oracle.vae)
        return oracle

    return make


def single_sample_bounds(objective: Objective, oracle: Any, draws: int) -> Tensor:
    """The bound of every datum, ``(draws, data)``."""
    repeated = oracle.x.repeat(draws, 1)
    return objective.loss_and_terms(oracle.vae, repeated)[1].elbo.unflatten(0, (draws, -1))


def assert_bound_is_evidence(oracle: Any) -> None:
    loss = torch.stack(
        [SampledELBO().loss_and_terms(oracle.vae, datum[None])[0] for datum in oracle.x]
    )
    torch.testing.assert_close(loss.detach(), -oracle.evidence, rtol=0, atol=EXACT)


@both_guides
@both_priors
@pytest.mark.parametrize("seed", range(3))
def test_every_single_sample_bound_is_the_evidence(
    make_linear_gaussian: Any, guide: str, prior: str, seed: int
) -> None:
    oracle = make_linear_gaussian(guide, prior)
    torch.manual_seed(seed)
    assert_bound_is_evidence(oracle)


@mistakes
def test_a_planted_error_is_noticed(make_wrong: Any, mistake: Callable[[VAE], None]) -> None:
    with pytest.raises(AssertionError):
        assert_bound_is_evidence(make_wrong(mistake))


@both_guides
def test_an_exact_guide_is_the_posterior(make_linear_gaussian: Any, guide: str) -> None:
    oracle = make_linear_gaussian(guide)
    q, posterior = oracle.vae.encode(oracle.x), oracle.posterior
    torch.testing.assert_close(q.mean, posterior.mean, rtol=0, atol=EXACT)
    torch.testing.assert_close(q.variance, posterior.variance, rtol=0, atol=EXACT)


@both_guides
def test_the_analytic_kl_is_that_of_the_posterior_from_the_prior(
    make_linear_gaussian: Any, guide: str
) -> None:
    oracle = make_linear_gaussian(guide)
    terms = AnalyticELBO().loss_and_terms(oracle.vae, oracle.x)[1]
    posterior = oracle.posterior
    # KL(N(m, S), N(0, I)), written out.
    variance, determinant = posterior.variance.sum(-1), posterior.covariance_matrix.logdet()
    expected = 0.5 * (variance + posterior.mean.square().sum(-1) - 2 - determinant)
    torch.testing.assert_close(terms.total_kl, expected, rtol=0, atol=EXACT)


@both_guides
def test_the_analytic_bound_is_the_evidence_in_the_mean(
    make_linear_gaussian: Any, z_score: Any, guide: str
) -> None:
    oracle = make_linear_gaussian(guide)
    bounds = single_sample_bounds(AnalyticELBO(), oracle, draws=4000)
    assert z_score(bounds, oracle.evidence) < 5


@both_priors
@mistakes
def test_the_gap_of_the_bound_is_the_kl_from_the_posterior(
    make_wrong: Any, z_score: Any, mistake: Callable[[VAE], None], prior: str
) -> None:
    oracle = make_wrong(mistake, prior)
    q = oracle.vae.encode(oracle.x)
    gap = kl_divergence(q, oracle.posterior).detach()
    bounds = single_sample_bounds(SampledELBO(), oracle, draws=4000)
    assert z_score(bounds, oracle.evidence - gap) < 5


@mistakes
def test_the_bound_of_a_wrong_guide_is_below_the_evidence(
    make_wrong: Any, z_score: Any, mistake: Callable[[VAE], None]
) -> None:
    oracle = make_wrong(mistake)
    bounds = single_sample_bounds(SampledELBO(), oracle, draws=4000).mean(1)
    assert bounds.mean() < oracle.evidence.mean()
    assert z_score(bounds, oracle.evidence.mean()) > 5


def as_dataset(x: Tensor) -> Dataset:
    return Dataset("linear", x.float(), torch.arange(len(x)), None, None)


def test_evaluation_reports_the_evidence_and_its_spread(make_linear_gaussian: Any) -> None:
    # The mixture keeps the closed form out, so that the reported bound has no noise. More data
    # than one batch holds, and the last batch short.
    oracle = make_linear_gaussian(prior="mixture", data=1100)
    mean, spread = oracle.evidence.mean().item(), oracle.evidence.std().item()
    summary = evaluate(oracle.vae.float(), as_dataset(oracle.x), SampledELBO())
    # Data and weights are in float32, the densities of order ten: 1e-4 is a hundred roundings.
    assert math.isclose(summary.elbo, mean, abs_tol=1e-4)
    assert math.isclose(summary.loss, -mean, abs_tol=1e-4)
    assert math.isclose(summary.standard_error, spread / 1100**0.5, abs_tol=1e-4)


@both_guides
@pytest.mark.parametrize("vectorised", [True, False])
@pytest.mark.parametrize("alpha", [0.0, 0.5, 2.0])
def test_every_renyi_bound_is_the_evidence(
    make_linear_gaussian: Any, guide: str, vectorised: bool, alpha: float
) -> None:
    oracle = make_linear_gaussian(guide)
    bound = RenyiELBO(alpha, 5, max_plate_nesting=1, vectorize_particles=vectorised)
    loss = bound.loss(oracle.vae.model, oracle.vae.guide, oracle.x)
    assert math.isclose(loss, -oracle.evidence.sum(), abs_tol=EXACT * len(oracle.x))


def far_apart(oracle: Any) -> Any:
    """The same autoencoder with two data that have little in common."""
    return oracle._replace(x=torch.stack([oracle.x[0], 4 - oracle.x[0]]))


def renyi(oracle: Any, particles: int, alpha: float = 0.0) -> float:
    return -RenyiELBO(alpha, particles, **PARTICLES).loss(
        oracle.vae.model, oracle.vae.guide, oracle.x
    )


@pytest.mark.parametrize("alpha", [0.0, 0.5])
def test_the_renyi_bound_of_a_batch_weighs_every_datum_by_itself(
    make_wrong: Any, alpha: float
) -> None:
    oracle = far_apart(make_wrong(widen))
    vae, x, particles = oracle.vae, oracle.x, 8
    torch.manual_seed(1)
    z = vae.encode(x).rsample((particles,))
    model = vae.prior(vae.posterior).log_prob(z) + vae.decode(z).log_prob(x)
    weights = (1 - alpha) * (model - vae.encode(x).log_prob(z))  # (particles, data)
    per_datum = (weights.logsumexp(0) - math.log(particles)) / (1 - alpha)
    torch.manual_seed(1)
    assert math.isclose(renyi(oracle, particles, alpha), per_datum.sum().item(), abs_tol=EXACT)


def test_the_importance_weighted_bound_of_two_data_is_the_sum_of_each_alone(
    make_wrong: Any, z_score: Any
) -> None:
    oracle = far_apart(make_wrong(shift_mean))
    first, second = (oracle._replace(x=datum[None]) for datum in oracle.x)
    pairs = [
        [renyi(oracle, particles=50), renyi(first, particles=50) + renyi(second, particles=50)]
        for _ in range(300)
    ]
    together, alone = torch.tensor(pairs, dtype=torch.float64).T
    assert z_score(together - alone, 0.0) < 5


def test_one_importance_weighted_particle_is_the_evidence_lower_bound(make_wrong: Any) -> None:
    oracle = make_wrong(widen)
    torch.manual_seed(1)
    one_particle = renyi(oracle, particles=1)
    torch.manual_seed(1)
    elbo = -Trace_ELBO().loss(oracle.vae.model, oracle.vae.guide, oracle.x)
    assert math.isclose(one_particle, elbo, abs_tol=EXACT)


def test_importance_weighted_bounds_rise_with_the_particles_towards_the_evidence(
    make_wrong: Any,
) -> None:
    oracle = make_wrong(widen)
    evidence = oracle.evidence.sum().item()
    repeated = oracle._replace(x=oracle.x.repeat(100, 1))
    bounds = torch.tensor(
        [[renyi(repeated, particles) / 100 for particles in (1, 4, 16)] for _ in range(20)]
    )
    means = [*bounds.mean(0).tolist(), evidence]
    errors = (bounds.std(0) / len(bounds) ** 0.5).tolist()
    for lower, higher, error in zip(means, means[1:], errors, strict=False):
        assert lower + 5 * error < higher
