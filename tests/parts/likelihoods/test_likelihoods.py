"""Densities that are densities, the limits in which they are one another, and their edges."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn

from pyrovae import InferenceSpec, ModelSpec, Training, build
from pyrovae.data import from_arrays
from pyrovae.errors import DataError, SpecError
from pyrovae.evaluation.support_check import check_support
from pyrovae.parts.distributions.positive import positive, raw_scale
from pyrovae.parts.likelihoods import (
    BernoulliLikelihood,
    BetaLikelihood,
    BinomialLikelihood,
    CategoricalLikelihood,
    ContinuousBernoulliLikelihood,
    DirichletMultinomialLikelihood,
    DiscretizedLogisticLikelihood,
    LaplaceLikelihood,
    Likelihood,
    MultinomialLikelihood,
    NegativeBinomialLikelihood,
    NormalLikelihood,
    PoissonLikelihood,
)
from pyrovae.parts.likelihoods.building import build_likelihood
from pyrovae.parts.likelihoods.negative_binomial import NegativeBinomial

EXACT = {"rtol": 1e-12, "atol": 1e-12}  # the same numbers in another order, in float64
SUMS = {"rtol": 1e-9, "atol": 1e-9}  # sums of many logarithms of Gamma functions, in float64
LEVELS = 3
BOUNDED = {
    "bernoulli": (1, BernoulliLikelihood),
    "binomial": (LEVELS, lambda shape: BinomialLikelihood(shape, LEVELS)),
    "categorical": (LEVELS, lambda shape: CategoricalLikelihood(shape, LEVELS)),
    "discretized_logistic": (LEVELS, lambda s: DiscretizedLogisticLikelihood(s, LEVELS)),
    "discretized_logistic per pixel": (
        LEVELS,
        lambda shape: DiscretizedLogisticLikelihood(shape, LEVELS, "per_pixel"),
    ),
}
UNBOUNDED = {"poisson": PoissonLikelihood, "negative_binomial": NegativeBinomialLikelihood}
ON_THE_UNIT_INTERVAL = {
    "continuous_bernoulli": ContinuousBernoulliLikelihood,
    "beta": BetaLikelihood,
}
given_the_total = pytest.mark.parametrize(
    "make", [MultinomialLikelihood, DirichletMultinomialLikelihood]
)
noises = pytest.mark.parametrize("noise", ["fixed", "learned", "per_pixel"])
bounded = pytest.mark.parametrize(("levels", "make"), BOUNDED.values(), ids=BOUNDED.keys())


def generic(likelihood: Likelihood) -> Likelihood:
    """In float64, its parameters away from where they start."""
    likelihood = likelihood.double()
    with torch.no_grad():
        for parameter in likelihood.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return likelihood


def outputs_of(likelihood: Likelihood, *shape: int) -> Tensor:
    return torch.randn(*shape[:-1], likelihood.outputs, shape[-1], dtype=torch.float64)


def all_observations(values: int, shape: tuple[int, ...]) -> Tensor:
    """Every observation of the given shape with values below ``values``."""
    rows = itertools.product(range(values), repeat=math.prod(shape))
    return torch.tensor(list(rows), dtype=torch.float64).unflatten(-1, shape)


def column(values: Tensor) -> Tensor:
    """Observations ``(n, 1)`` of one value."""
    return values.double().unsqueeze(-1)


@torch.no_grad()
@noises
@pytest.mark.parametrize("family", [NormalLikelihood, LaplaceLikelihood])
def test_a_density_of_real_values_integrates_to_one_and_its_samples_follow_it(
    assert_follows: Any, family: Any, noise: str
) -> None:
    likelihood = family((1, 2), noise, scale=0.3)
    assert_follows(likelihood(torch.randn(likelihood.outputs, 1, 2)))


@torch.no_grad()
@pytest.mark.parametrize("family", ON_THE_UNIT_INTERVAL.values(), ids=ON_THE_UNIT_INTERVAL.keys())
def test_a_density_on_the_unit_interval_integrates_to_one_and_its_samples_follow_it(
    z_score: Any, family: Any
) -> None:
    likelihood = family((5,))
    # Concentrations above 1, where the density is smooth enough for the rule.
    outputs = torch.linspace(1, 4, 5 * likelihood.outputs).double().unflatten(-1, (-1, 5))
    density = likelihood(outputs if likelihood.outputs == 2 else 6 * outputs - 15)
    edges = torch.linspace(0, 1, 20_001, dtype=torch.float64)
    x = ((edges[1:] + edges[:-1]) / 2).unsqueeze(-1)  # the midpoint rule
    weights = density.base_dist.log_prob(x).exp() / len(x)  # (points, 5)
    one = torch.ones(5, dtype=torch.float64)
    torch.testing.assert_close(weights.sum(0), one, rtol=0, atol=1e-6)
    mean = (weights * x).sum(0)
    torch.testing.assert_close(density.mean, mean, rtol=0, atol=1e-6)
    draws = density.sample((20_000,))
    assert ((draws >= 0) & (draws <= 1)).all()
    assert z_score(draws, mean) < 5
    assert z_score(draws.square(), (weights * x.square()).sum(0)) < 5


@pytest.mark.parametrize("shape", [(4,), (1, 2, 2)])
@bounded
def test_a_density_of_levels_sums_to_one_over_all_observations(
    levels: int, make: Any, shape: tuple[int, ...]
) -> None:
    likelihood = generic(make(shape))
    density = likelihood(torch.randn(likelihood.outputs, *shape, dtype=torch.float64))
    x = all_observations(levels + 1, shape)
    total = density.log_prob(x).exp().sum()
    torch.testing.assert_close(total, torch.ones_like(total), **EXACT)


COUNTS = {
    **BOUNDED,
    **{kind: (1000, family) for kind, family in UNBOUNDED.items()},  # beyond is next to nothing
}


@torch.no_grad()
@pytest.mark.parametrize(("most", "make"), COUNTS.values(), ids=COUNTS.keys())
def test_moments_are_those_of_the_density_and_samples_follow_it(
    z_score: Any, most: int, make: Any
) -> None:
    likelihood = generic(make((4,)))
    # Near the middle, so that no value is drawn so rarely that its count is not about normal.
    density = likelihood(0.5 + 0.3 * outputs_of(likelihood, 4))
    x = column(torch.arange(most + 1))
    log_prob = density.base_dist.log_prob(x)  # (values, 4)
    probs = log_prob.exp()
    torch.testing.assert_close(probs.sum(0), torch.ones(4).double(), **SUMS)
    mean = (probs * x).sum(0)
    variance = (probs * (x - mean).square()).sum(0)
    torch.testing.assert_close(density.mean, mean, **SUMS)
    torch.testing.assert_close(density.variance, variance, **SUMS)
    draws = density.sample((20_000,))
    assert draws.dtype == torch.float64
    assert z_score(draws, mean) < 5
    assert z_score((draws - mean).square(), variance) < 5
    assert z_score(density.base_dist.log_prob(draws), (probs * log_prob).sum(0)) < 5


@given_the_total
def test_a_density_of_counts_given_their_total_sums_to_one(make: Any) -> None:
    density = generic(make((3,), total_count=7))(torch.randn(1, 3).double())
    x = all_observations(6, (3,))
    for total in range(6):  # 0 among them, and never the total of the samples
        mass = density.log_prob(x[x.sum(-1) == total]).exp().sum()
        torch.testing.assert_close(mass, torch.ones_like(mass), **EXACT)


@given_the_total
def test_draws_of_counts_have_the_total_the_moments_and_the_entropy(
    make: Any, z_score: Any
) -> None:
    density = generic(make((3,), total_count=4))(torch.randn(1, 3).double())
    x = all_observations(5, (3,))
    x = x[x.sum(-1) == 4]
    log_prob = density.log_prob(x)
    probs = log_prob.exp().unsqueeze(-1)
    draws = density.sample((20_000,))
    assert (draws.sum(-1) == 4).all()
    torch.testing.assert_close(density.mean, (probs * x).sum(0), **EXACT)
    variance = (probs * (x - density.mean).square()).sum(0)
    torch.testing.assert_close(density.variance, variance, **EXACT)
    assert z_score(draws, density.mean) < 5
    assert z_score((draws - density.mean).square(), variance) < 5
    assert z_score(density.log_prob(draws), (probs[:, 0] * log_prob).sum()) < 5


@given_the_total
@torch.no_grad()
def test_draws_given_totals_are_those_that_the_density_gives(make: Any, z_score: Any) -> None:
    logits = torch.randn(2, 1, 3).double().expand(10_000, 2, 1, 3)
    density = generic(make((3,), total_count=9))(logits)
    totals = torch.tensor([2, 4]).expand(10_000, 2)
    draws = density.sample_given(totals)
    assert torch.equal(draws.sum(-1), totals.double())
    for column, total in enumerate((2, 4)):
        x = all_observations(5, (3,))
        x = x[x.sum(-1) == total]
        log_prob = density.log_prob(x.unsqueeze(1).unsqueeze(1))[:, 0, column]
        entropy = (log_prob.exp() * log_prob).sum()
        assert z_score(density.log_prob(draws)[:, column], entropy) < 5


def dirichlet_multinomial(logits: Tensor, concentration: float, total_count: int = 2) -> Any:
    likelihood = DirichletMultinomialLikelihood((logits.shape[-1],), total_count).double()
    nn.init.constant_(likelihood.log_concentration, math.log(concentration))
    return likelihood(logits)


def test_the_dirichlet_multinomial_density_and_moments_are_pyros() -> None:
    logits, x = torch.randn(6, 1, 3).double(), torch.randint(0, 9, (6, 3)).double()
    for concentration in (0.01, 1.0, 70.0):
        density = dirichlet_multinomial(logits, concentration)
        alpha = concentration * logits[:, 0].softmax(-1)
        pyros = dist.DirichletMultinomial(alpha, 2, validate_args=False)
        torch.testing.assert_close(density.log_prob(x), pyros.log_prob(x), **SUMS)
        torch.testing.assert_close(density.mean, pyros.mean, **EXACT)
        torch.testing.assert_close(density.variance, pyros.variance, **EXACT)


def test_a_dirichlet_multinomial_of_a_large_concentration_is_the_multinomial() -> None:
    logits, x = torch.randn(6, 1, 3).double(), torch.randint(0, 9, (6, 3)).double()
    multinomial = MultinomialLikelihood((3,), 2)(logits)
    for concentration in (1e9, 1e15, 1e300):
        density = dirichlet_multinomial(logits, concentration)
        torch.testing.assert_close(density.log_prob(x), multinomial.log_prob(x), rtol=0, atol=1e-6)
        torch.testing.assert_close(density.variance, multinomial.variance, rtol=0, atol=1e-6)


def test_a_dirichlet_multinomial_of_a_small_concentration_is_one_value_only() -> None:
    logits = torch.randn(1, 3).double()
    density = dirichlet_multinomial(logits, 1e-12, total_count=50)
    log_prob = density.log_prob(50 * torch.eye(3).double())
    torch.testing.assert_close(log_prob, logits[0].log_softmax(-1), rtol=0, atol=1e-9)
    draws = density.sample((100,))
    assert torch.equal(draws.amax(-1), draws.sum(-1))


def test_a_dirichlet_multinomial_of_one_count_is_categorical() -> None:
    logits = torch.randn(1, 5).double()
    log_prob = dirichlet_multinomial(logits, 3.0).log_prob(torch.eye(5).double())
    torch.testing.assert_close(log_prob, logits[0].log_softmax(-1), **EXACT)


def test_negative_binomials_of_one_ratio_given_their_total_are_dirichlet_multinomial() -> None:
    logits, x = torch.randn(1, 4).double(), torch.randint(0, 6, (7, 4)).double()
    alpha, ratio = 5.0 * logits.softmax(-1), 3.0
    each = NegativeBinomial(ratio * alpha, alpha).log_prob(x).sum(-1)
    total = NegativeBinomial(torch.tensor(5.0 * ratio), torch.tensor(5.0)).log_prob(x.sum(-1))
    given = dirichlet_multinomial(logits, 5.0).log_prob(x)
    torch.testing.assert_close(each - total, given, **SUMS)


def test_a_share_that_is_rounded_to_zero_has_a_density_and_gradients() -> None:
    logits = torch.tensor([[0.0, -2000.0, 0.0]], requires_grad=True)
    likelihood = DirichletMultinomialLikelihood((3,), 4)
    log_prob = likelihood(logits).log_prob(torch.tensor([[2.0, 0.0, 1.0], [1.0, 2.0, 0.0]]))
    log_prob.sum().backward()
    assert log_prob.isfinite().all()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    torch.testing.assert_close(logits.grad.sum(), torch.tensor(0.0), atol=1e-5, rtol=0)


def test_the_multinomial_density_is_torchs_whatever_the_total_of_samples() -> None:
    logits, x = torch.randn(6, 1, 3).double(), torch.randint(0, 9, (6, 3)).double()
    torchs = torch.distributions.Multinomial(logits=logits[:, 0], validate_args=False)
    for total_count in (1, 50):
        density = MultinomialLikelihood((3,), total_count)(logits)
        torch.testing.assert_close(density.log_prob(x), torchs.log_prob(x), **EXACT)


def test_a_multinomial_of_one_word_is_categorical() -> None:
    logits = torch.randn(1, 5).double()
    words = torch.eye(5, dtype=torch.float64)
    density = MultinomialLikelihood((5,), 1)(logits)
    categorical = CategoricalLikelihood((1,), levels=4)(logits.T)
    expected = categorical.log_prob(column(torch.arange(5)))
    torch.testing.assert_close(density.log_prob(words), expected, **EXACT)


def test_a_multinomial_of_two_values_is_binomial_given_the_total() -> None:
    f = torch.randn(()).double()
    x = torch.arange(8).double()
    density = MultinomialLikelihood((2,), 3)(torch.stack([f, torch.zeros_like(f)])[None])
    binomial = BinomialLikelihood((1,), 7).double()(f.reshape(1, 1))
    rows = torch.stack([x, 7 - x], -1)
    torch.testing.assert_close(density.log_prob(rows), binomial.log_prob(column(x)), **EXACT)


def test_poissons_given_their_total_are_multinomial() -> None:
    outputs, x = torch.randn(1, 4).double(), torch.randint(0, 6, (7, 4)).double()
    poisson = PoissonLikelihood((4,))(outputs)
    total = dist.Poisson(poisson.mean.sum()).log_prob(x.sum(-1))
    multinomial = MultinomialLikelihood((4,), 1)(poisson.mean.log()[None])
    given = poisson.log_prob(x) - total
    torch.testing.assert_close(given, multinomial.log_prob(x), **SUMS)


@given_the_total
def test_counts_given_their_total_do_not_see_a_constant_in_the_logits(make: Any) -> None:
    logits, x = torch.randn(6, 1, 3).double(), torch.randint(0, 9, (6, 3)).double()
    likelihood = make((3,), 2).double()
    moved = likelihood(logits + 7).log_prob(x)
    torch.testing.assert_close(moved, likelihood(logits).log_prob(x), **SUMS)


@pytest.mark.parametrize("shape", [(), (1, 8, 8), (3, 2)])
@given_the_total
def test_counts_of_what_is_no_row_are_refused(make: Any, shape: tuple[int, ...]) -> None:
    with pytest.raises(SpecError, match=r"multinomial' needs rows .* choose 'poisson'"):
        make(shape, 3)


def test_binomial_of_one_is_bernoulli() -> None:
    outputs, x = torch.randn(6, 1, 2, 2).double(), torch.ones(6, 2, 2).double().bernoulli(0.5)
    binomial = BinomialLikelihood((2, 2), 1).double()(outputs).log_prob(x)
    torch.testing.assert_close(binomial, BernoulliLikelihood((2, 2))(outputs).log_prob(x), **EXACT)


def test_categorical_of_two_levels_is_bernoulli() -> None:
    outputs, x = torch.randn(6, 2, 2, 2).double(), torch.ones(6, 2, 2).double().bernoulli(0.5)
    categorical = CategoricalLikelihood((2, 2), levels=1)(outputs).log_prob(x)
    difference = (outputs[:, 1] - outputs[:, 0]).unsqueeze(1)
    bernoulli = BernoulliLikelihood((2, 2))(difference).log_prob(x)
    torch.testing.assert_close(categorical, bernoulli, **EXACT)


def test_a_discretized_logistic_of_two_levels_is_bernoulli() -> None:
    outputs, x = torch.randn(6, 1, 3).double(), torch.ones(6, 3).double().bernoulli(0.5)
    logistic = DiscretizedLogisticLikelihood((3,), levels=1, scale=0.4).double()(outputs)
    scale = positive(torch.tensor(raw_scale(0.4), dtype=torch.float64))
    bernoulli = BernoulliLikelihood((3,))((outputs - 0.5) / scale)
    torch.testing.assert_close(logistic.log_prob(x), bernoulli.log_prob(x), rtol=1e-6, atol=1e-6)


def logistic(loc: float, scale: float, levels: int) -> Any:
    """The density of one value, location and scale in levels."""
    likelihood = DiscretizedLogisticLikelihood((1,), levels, scale=scale / levels).double()
    return likelihood(torch.tensor([[loc / levels]], dtype=torch.float64))


@pytest.mark.parametrize("noise", ["learned", "per_pixel"])
def test_location_and_noise_are_in_units_of_the_largest_level(noise: Any) -> None:
    likelihood = DiscretizedLogisticLikelihood((3,), 255, noise, scale=0.02)
    density = likelihood(torch.full((likelihood.outputs, 3), 0.0)).base_dist
    torch.testing.assert_close(density.scale, torch.full((3,), 0.02 * 255))
    raised = likelihood(torch.full((likelihood.outputs, 3), 0.5)).base_dist
    torch.testing.assert_close(raised.loc, torch.full((3,), 127.5))


@pytest.mark.parametrize("loc", [-3.0, 0.0, 2.2, 9.0])
def test_bins_have_the_mass_of_the_logistic_between_their_edges(loc: float) -> None:
    density = logistic(loc, 1.5, levels=6)
    scale = density.base_dist.scale
    edges = torch.tensor([-math.inf, *(k + 0.5 for k in range(6)), math.inf]).double()
    mass = torch.sigmoid((edges - loc) / scale).diff().flatten()
    probs = density.log_prob(column(torch.arange(7))).exp()
    torch.testing.assert_close(probs.detach(), mass.detach(), **EXACT)


def test_under_very_much_noise_only_the_outer_bins_are_left_each_with_a_half() -> None:
    probs = logistic(3.0, 1e6, levels=4).log_prob(column(torch.arange(5))).exp().detach()
    halves = torch.tensor([0.5, 0, 0, 0, 0.5], dtype=torch.float64)
    torch.testing.assert_close(probs, halves, rtol=0, atol=1e-5)


def test_under_very_little_noise_the_level_is_the_rounded_location() -> None:
    density = logistic(2.2, 1e-3, levels=4)
    probs = density.log_prob(column(torch.arange(5))).exp().detach()
    torch.testing.assert_close(probs, torch.eye(5).double()[2], rtol=0, atol=1e-9)
    assert (density.sample((100,)) == 2).all()


def test_far_tails_of_the_discretized_logistic_fall_by_the_distance_in_scales() -> None:
    density = logistic(0.0, 1.0, levels=2000)
    x = torch.tensor([100.0, 900.0, 1900.0])
    slope = density.log_prob(column(x + 1)) - density.log_prob(column(x))
    scale = density.base_dist.scale.detach()
    torch.testing.assert_close(slope.detach(), (-1 / scale).flatten().expand(3), **SUMS)


def test_the_discretized_logistic_is_symmetric() -> None:
    likelihood = DiscretizedLogisticLikelihood((1,), 5, "per_pixel").double()
    outputs, x = torch.randn(2, 1).double(), column(torch.arange(6))
    mirrored = torch.stack([1 - outputs[0], outputs[1]])
    there = likelihood(outputs).log_prob(x)
    torch.testing.assert_close(likelihood(mirrored).log_prob(5 - x), there, **SUMS)


def test_a_negative_binomial_is_poisson_as_its_dispersion_grows() -> None:
    likelihood = NegativeBinomialLikelihood((3,)).double()
    outputs, x = torch.randn(1, 3).double() + 2, torch.randint(0, 9, (7, 3)).double()
    poisson = PoissonLikelihood((3,))(outputs)
    distances = []
    for dispersion in (1e2, 1e4, 1e6):
        nn.init.constant_(likelihood.raw_dispersion, dispersion)
        density = likelihood(outputs)
        distances.append((density.log_prob(x) - poisson.log_prob(x)).abs().max().item())
        torch.testing.assert_close(density.mean, poisson.mean, **SUMS)
    # The difference is of first order in 1 / dispersion.
    assert distances[1] < distances[0] / 50
    assert distances[2] < distances[1] / 50


def test_the_variance_of_a_negative_binomial_is_that_of_the_reference() -> None:
    likelihood = generic(NegativeBinomialLikelihood((3,)))
    density = likelihood(torch.randn(6, 1, 3).double())
    dispersion = positive(likelihood.raw_dispersion)
    expected = density.mean + density.mean.square() / dispersion
    torch.testing.assert_close(density.variance, expected, **SUMS)


def test_the_dispersion_starts_at_one_for_each_value() -> None:
    likelihood = NegativeBinomialLikelihood((2, 3))
    assert likelihood.raw_dispersion.shape == (2, 3)
    torch.testing.assert_close(positive(likelihood.raw_dispersion), torch.ones(2, 3))


def test_the_continuous_bernoulli_at_zero_is_uniform() -> None:
    x = torch.rand(7, 3).double()
    density = ContinuousBernoulliLikelihood((3,))(torch.zeros(1, 3).double())
    torch.testing.assert_close(density.log_prob(x), torch.zeros(7).double(), **EXACT)


def test_the_continuous_bernoulli_is_accurate_near_a_half_in_float32() -> None:
    f = torch.linspace(-1, 1, 4001, requires_grad=True)
    density = ContinuousBernoulliLikelihood((4001,))(f[None]).base_dist
    density.log_prob(torch.full((4001,), 0.3)).sum().backward()
    half = f.detach().double() / 2
    half[2000] = 1e-6  # coth and 1 / f meet at zero
    mean = 0.5 + 0.5 * (1 / half.tanh() - 1 / half)
    variance = 0.25 * (1 / half.square() - 1 / half.sinh().square())
    close = {"rtol": 0, "atol": 1e-5}
    torch.testing.assert_close(density.mean.double().detach(), mean, **close)
    # The density is exponential in f, so its gradient is what the mean leaves of x.
    torch.testing.assert_close(f.grad.double(), 0.3 - mean, **close)
    away = half.abs() > 1e-3  # where the difference of squares keeps its digits
    error = density.variance.double().detach() - variance
    assert error[away].abs().max() < 1e-3


def test_beta_of_equal_concentrations_is_symmetric() -> None:
    outputs, x = torch.randn(2, 3).double(), 0.1 + 0.8 * torch.rand(7, 3).double()
    likelihood = BetaLikelihood((3,))
    there = likelihood(outputs).log_prob(x)
    torch.testing.assert_close(likelihood(outputs.flip(0)).log_prob(1 - x), there, **SUMS)


def test_the_first_output_of_beta_raises_its_mean_and_the_second_lowers_it() -> None:
    likelihood = BetaLikelihood((1,))
    low, middle, high = (
        likelihood(torch.tensor(f)[:, None]).mean for f in ([0.0, 1.0], [0.0, 0.0], [1.0, 0.0])
    )
    assert low < middle < high


def test_beta_draws_lie_inside_even_where_they_round_to_the_ends() -> None:
    density = BetaLikelihood((2,))(torch.tensor([[-1e4, 30.0], [-1e4, -1e4]]))
    draws = density.sample((200,))
    assert ((draws > 0) & (draws < 1)).all()
    assert density.log_prob(draws).isfinite().all()


@noises
def test_the_noise_starts_at_the_standard_deviation_asked_for(noise: str) -> None:
    likelihood = NormalLikelihood((2, 3), noise, scale=0.3)
    outputs = torch.zeros(5, likelihood.outputs, 2, 3)
    torch.testing.assert_close(likelihood(outputs).stddev, torch.full((5, 2, 3), 0.3))


@noises
def test_the_noise_of_laplace_is_its_mean_absolute_deviation(noise: str, z_score: Any) -> None:
    likelihood = LaplaceLikelihood((2, 3), noise, scale=0.3)
    draws = likelihood(torch.zeros(likelihood.outputs, 2, 3)).sample((20_000,))
    assert z_score(draws.abs(), 0.3) < 5


@pytest.mark.parametrize("family", [NormalLikelihood, LaplaceLikelihood])
def test_the_noise_per_pixel_moves_with_the_second_output_and_not_the_first(family: Any) -> None:
    likelihood = family((3,), "per_pixel", scale=0.3)
    loc, raw = torch.randn(2, 3)
    density = likelihood(torch.stack([loc, raw]))
    assert torch.equal(density.mean, loc)
    torch.testing.assert_close(density.base_dist.scale, positive(raw + raw_scale(0.3)))


def test_densities_are_sums_over_values_that_follow_their_order(
    make_vae: Any, likelihood: dict[str, Any]
) -> None:
    vae = make_vae(likelihood=likelihood)
    order = torch.randperm(5)
    outputs, x = outputs_of(vae.likelihood, 6, 5), vae.sample(6)
    with torch.no_grad():
        here = vae.likelihood(outputs).log_prob(x)
        for parameter in vae.likelihood.parameters():
            if parameter.shape == (5,):
                parameter.copy_(parameter[order])
        there = vae.likelihood(outputs[..., order]).log_prob(x[..., order])
    torch.testing.assert_close(there, here, **SUMS)


# Where observations of each kind may lie, the ends among them where they belong.
OBSERVATIONS = {
    "bernoulli": [0.0, 1.0],
    "continuous_bernoulli": [0.0, 0.3, 1.0],
    "beta": [1e-6, 0.3, 1 - 1e-6],
    "normal": [-7.0, 0.0, 300.0],
    "laplace": [-7.0, 0.0, 300.0],
    "poisson": [0.0, 1.0, 1000.0],
    "negative_binomial": [0.0, 1.0, 1000.0],
}


@pytest.mark.parametrize("size", [30.0, 1e4])
def test_extreme_outputs_have_finite_densities_and_gradients_in_float32(
    make_vae: Any, likelihood: dict[str, Any], size: float
) -> None:
    part = make_vae(likelihood=likelihood).likelihood.float()
    values = torch.tensor(OBSERVATIONS.get(likelihood["kind"], [0.0, 1.0, 3.0]))
    signs = torch.tensor(list(itertools.product([-1.0, 0.0, 1.0], repeat=min(part.outputs, 3))))
    signs = torch.cat([signs, torch.zeros(len(signs), part.outputs - signs.shape[1])], -1)
    outputs = (size * signs)[:, :, None].repeat_interleave(len(values), 0).expand(-1, -1, 5)
    mixed = torch.cat([outputs[..., :2], -outputs[..., 2:]], -1)  # a vector that is not constant
    outputs = torch.cat([outputs, mixed]).requires_grad_()
    x = values.repeat(2 * len(signs))[:, None].expand(-1, 5)
    density = part(outputs)
    log_prob = density.log_prob(x)
    log_prob.sum().backward()
    assert log_prob.isfinite().all()
    assert outputs.grad.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in part.parameters())
    assert density.mean.isfinite().all()


def test_gradients_are_those_of_the_density(make_vae: Any, likelihood: dict[str, Any]) -> None:
    part = make_vae(likelihood=likelihood).likelihood
    outputs = outputs_of(part, 2, 5).requires_grad_()
    with torch.no_grad():
        x = part(outputs).sample()
    assert torch.autograd.gradcheck(lambda f: part(f).log_prob(x), (outputs,))


AT_A_MEAN = {
    "bernoulli": (BernoulliLikelihood((3,)), 1.0),
    "binomial": (BinomialLikelihood((3,), 16), 16.0),
    "poisson": (PoissonLikelihood((3,)), 50.0),
    "negative_binomial": (NegativeBinomialLikelihood((3,)), 50.0),
    "normal": (NormalLikelihood((3,)), 50.0),
    "normal per pixel": (NormalLikelihood((3,), "per_pixel"), 50.0),
    "laplace": (LaplaceLikelihood((3,), "fixed"), 50.0),
    "laplace per pixel": (LaplaceLikelihood((3,), "per_pixel"), 50.0),
}


@torch.no_grad()
@pytest.mark.parametrize(("likelihood", "largest"), AT_A_MEAN.values(), ids=AT_A_MEAN.keys())
def test_a_decoder_that_starts_at_a_mean_has_it(likelihood: Likelihood, largest: float) -> None:
    mean = torch.tensor([0.002, 0.3, 0.99], dtype=torch.float64) * largest
    outputs = likelihood.double().outputs_at(mean)
    assert outputs.shape == (likelihood.outputs, 3)
    torch.testing.assert_close(likelihood(outputs).mean, mean, **SUMS)


@torch.no_grad()
@pytest.mark.parametrize(("likelihood", "largest"), AT_A_MEAN.values(), ids=AT_A_MEAN.keys())
def test_a_decoder_can_start_at_what_is_always_black_or_white(
    likelihood: Likelihood, largest: float
) -> None:
    mean = torch.tensor([0.0, 0.5, 1.0]) * largest
    outputs = likelihood.float().outputs_at(mean)
    assert outputs.isfinite().all()
    torch.testing.assert_close(likelihood(outputs).mean, mean, rtol=0, atol=1.1e-3 * largest)


@given_the_total
def test_a_bag_of_words_starts_at_the_shares_of_the_mean(make: Any) -> None:
    mean = torch.tensor([0.5, 3.0, 8.5], dtype=torch.float64)
    likelihood = make((3,), total_count=12)
    torch.testing.assert_close(likelihood(likelihood.outputs_at(mean)).mean, mean, **EXACT)
    unseen = likelihood.outputs_at(torch.tensor([0.0, 3.0, 9.0]))
    assert unseen.isfinite().all()
    assert likelihood.outputs_at(torch.zeros(3)).isfinite().all()


def test_the_continuous_bernoulli_starts_at_about_the_mean() -> None:
    likelihood = ContinuousBernoulliLikelihood((999,))
    mean = torch.linspace(0.07, 0.93, 999)
    outputs = likelihood.outputs_at(mean)
    torch.testing.assert_close(likelihood(outputs).mean, mean, rtol=0, atol=0.01)


def test_the_continuous_bernoulli_starts_where_its_density_is_one() -> None:
    likelihood = ContinuousBernoulliLikelihood((2,))
    outputs = likelihood.outputs_at(torch.tensor([0.0, 1.0]))
    edges = torch.linspace(0, 1, 100_001)
    x = ((edges[1:] + edges[:-1]) / 2).unsqueeze(-1)
    mass = likelihood(outputs).base_dist.log_prob(x).exp().mean(0)
    torch.testing.assert_close(mass, torch.ones(2), rtol=0, atol=5e-3)  # float32


def test_the_discretized_logistic_starts_at_the_mean_but_for_the_outer_bins() -> None:
    likelihood = DiscretizedLogisticLikelihood((3,), levels=255, scale=0.01).double()
    mean = torch.tensor([60.0, 128.0, 200.0], dtype=torch.float64)
    there = likelihood(likelihood.outputs_at(mean)).mean.detach()
    torch.testing.assert_close(there, mean, rtol=0, atol=1e-3)


@pytest.mark.parametrize("likelihood", [BetaLikelihood((3,)), CategoricalLikelihood((3,), 4)])
def test_a_start_at_the_mean_is_refused_where_none_is_known(likelihood: Likelihood) -> None:
    with pytest.raises(SpecError, match=r"model\.output_bias .* (Beta|Categorical)"):
        likelihood.outputs_at(torch.full((3,), 0.5))


@pytest.mark.parametrize(
    "kind",
    ["binomial", "categorical", "discretized_logistic", "multinomial", "dirichlet_multinomial"],
)
def test_what_is_left_to_the_data_must_be_resolved_before_it_is_built(kind: str) -> None:
    spec = ModelSpec.model_validate({"likelihood": {"kind": kind}}).likelihood
    with pytest.raises(SpecError, match=r"model\.likelihood\.\w+ must be resolved"):
        build_likelihood(spec, (3,))


# Rows of fours with one wrong value, the value as it is named, and what the advice mentions.
WHOLE = {"negative": (-2.0, "-2"), "fractional": (1.5, "1.5")}
UNIT = {"negative": (-0.25, "-0.25"), "large": (1.5, "1.5")}
BOTH_ENDS = {"zero": (0.0, "0"), "one": (1.0, "1"), "negative": (-0.25, "-0.25")}
WRONG = {
    **{(kind, n): w for kind in ("poisson", "negative_binomial") for n, w in WHOLE.items()},
    **{(f"{prefix}multinomial", n): w for prefix in ("", "dirichlet_") for n, w in WHOLE.items()},
    **{
        (kind, name): wrong
        for kind in ("categorical", "discretized_logistic", "binomial")
        for name, wrong in {**WHOLE, "large": (5.0, "5")}.items()
    },
    **{("continuous_bernoulli", name): wrong for name, wrong in UNIT.items()},
    **{("beta", name): wrong for name, wrong in BOTH_ENDS.items()},
}
RIGHT: dict[str, list[float]] = {
    "beta": [0.01, 0.5, 0.99, 0.2],
    "continuous_bernoulli": [0.0, 1.0, 0.5, 0.2],
}
OPTIONS: dict[str, dict[str, Any]] = {
    "binomial": {"total_count": 4},
    "categorical": {"levels": 4},
    "discretized_logistic": {"levels": 4},
}


def training_on(rows: Any, kind: str) -> Training:
    data = from_arrays(np.asarray(rows), name="table")
    likelihood = {"kind": kind, **OPTIONS.get(kind, {})}
    small = {"kind": "mlp", "widths": (4,)}
    model = ModelSpec.model_validate({"likelihood": likelihood, "decoder": small})
    inference = InferenceSpec(epochs=1)
    return Training(build(model, inference, data), data, inference)


@pytest.mark.parametrize(("kind", "name"), WRONG, ids=map(" ".join, WRONG))
def test_a_value_outside_the_support_is_named_before_training(kind: str, name: str) -> None:
    rows = np.array([RIGHT.get(kind, [0.0, 1.0, 4.0, 2.0])] * 20)
    training_on(rows, kind)  # nothing is wrong with these
    wrong, named = WRONG[kind, name]
    rows[13, 2] = wrong
    with pytest.raises(DataError) as refusal:
        training_on(rows, kind)
    sentence = str(refusal.value)
    assert f"table has the value {named}, and p(x | z) = " in sentence
    assert "model.likelihood" in sentence
    assert "\n" not in sentence


class Elsewhere(Likelihood):
    """A density whose support is not that of what it is made of, or is one of whole rows."""

    formula = "another"
    advice = "what lies inside"

    def __init__(self, density: Any) -> None:
        super().__init__()
        self.density = density

    def forward(self, outputs: Tensor) -> Any:
        return self.density(outputs.squeeze(-2))


SUPPORTS = {
    "transformed": lambda f: dist.LogNormal(f, 1.0).to_event(1),
    "masked": lambda f: dist.LogNormal(f, 1.0).mask(True).to_event(1),
    "rows": lambda f: dist.Dirichlet(f.exp()),
}


@pytest.mark.parametrize("density", SUPPORTS.values(), ids=SUPPORTS.keys())
def test_the_support_is_that_which_the_density_declares(make_vae: Any, density: Any) -> None:
    vae = make_vae().float()
    vae.likelihood = Elsewhere(density)
    rows = torch.rand(20, 5).softmax(-1)
    check_support(vae, from_arrays(rows).train)
    with pytest.raises(DataError, match="has the value -"):
        check_support(vae, from_arrays(rows - 1).train)


def test_documents_of_all_lengths_and_without_words_are_trained_on() -> None:
    counts = np.random.default_rng(0).poisson(1.0, (40, 6))
    counts[::4] = 0
    training = training_on(counts, "multinomial")
    mean_total = counts[training.splits.train.rows].sum(1).mean()
    assert training.autoencoder.likelihood.total_count == round(mean_total)
    records = training.run()
    assert all(math.isfinite(record.elbo) for record in records)


def test_bits_are_refused_by_beta_with_advice() -> None:
    model = ModelSpec.model_validate({"likelihood": {"kind": "beta"}, "binarisation": "dynamic"})
    data = from_arrays(np.arange(60).reshape(20, 3))
    with pytest.raises(DataError, match="strictly between 0 and 1") as refusal:
        Training(build(model, "svi", data), data, InferenceSpec())
    assert "'bernoulli'" in str(refusal.value)
    assert "model.binarisation to 'none'" in str(refusal.value)


def test_a_multinomial_of_bits_has_the_mean_total_that_they_are_drawn_with() -> None:
    grey = np.random.default_rng(0).integers(0, 5, (200, 30))
    model = {"likelihood": {"kind": "multinomial"}, "binarisation": "dynamic"}
    state = torch.get_rng_state()
    vae = build(ModelSpec.model_validate(model), data=from_arrays(grey))
    assert torch.equal(torch.get_rng_state(), state)
    assert vae.likelihood.total_count == pytest.approx(30 / 2, abs=2)
