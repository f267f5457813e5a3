"""Log-densities, gradients and moments over their whole range, against SciPy in float64."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from scipy import special, stats
from torch import Tensor

from pyrovae.parts.likelihoods import BernoulliLikelihood, CategoricalLikelihood
from pyrovae.parts.likelihoods.beta import OpenBeta
from pyrovae.parts.likelihoods.binomial import PreciseBinomial
from pyrovae.parts.likelihoods.continuous_bernoulli import ContinuousBernoulli
from pyrovae.parts.likelihoods.dirichlet_multinomial import OverdispersedCountsGivenTotal
from pyrovae.parts.likelihoods.discretized_logistic import DiscretizedLogistic
from pyrovae.parts.likelihoods.multinomial import CountsGivenTotal
from pyrovae.parts.likelihoods.negative_binomial import NegativeBinomial
from pyrovae.parts.likelihoods.poisson import PrecisePoisson

VALUES = 1000
LARGEST = 2**24  # up to here float32 has every whole number
MEANS = np.logspace(-3, 7, 6)
LOGITS = (-100.0, -30.0, -14.0, -1.0, 0.0, 2.0, 20.5, 30.0)
ON_THE_UNIT_INTERVAL = (*LOGITS, 100.0, 1e4, -1e4, 1e-3, 0.2, 0.249, 0.251, -0.3, 15.0, 15.9, 16.0)


class Case(NamedTuple):
    """A density of one value or row, what it is given, and what SciPy says of it.

    Attributes:
        density: The distribution, from parameters of the type asked for.
        parameters: Numbers that float32 can hold.
        x: Observations, ``(1000,)`` or one row.
        log_prob: Of each observation, in float64.
        gradients: Of the sum of ``log_prob`` in each parameter; None where SciPy has none.
        mean: And the variance, where there are any.
    """

    density: Callable[..., Any]
    parameters: tuple[np.ndarray, ...]
    x: np.ndarray
    log_prob: np.ndarray
    gradients: tuple[np.ndarray | None, ...]
    mean: np.ndarray | None = None
    variance: np.ndarray | None = None


def single(values: Any) -> np.ndarray:
    """Numbers that float32 can hold, in float64."""
    return np.asarray(values, dtype=np.float32).astype(np.float64)


def around(mean: float, rng: np.random.Generator) -> np.ndarray:
    return single(mean * np.exp(0.1 * rng.normal(size=VALUES)))


def poisson(rng: np.random.Generator) -> Iterator[Case]:
    for mean in MEANS:
        rate = around(mean, rng)
        for x in (rng.poisson(rate), rng.poisson(2 * rate).clip(max=LARGEST), np.zeros(VALUES)):
            log_prob = stats.poisson.logpmf(x, rate)
            yield Case(PrecisePoisson, (rate,), x, log_prob, (x / rate - 1,), rate, rate)


def negative_binomial(rng: np.random.Generator) -> Iterator[Case]:
    for dispersion in single([1e-3, 0.5, 1.0, 30.0, 9e3, 1.1e4, 1e6]):
        theta = np.full(VALUES, dispersion)
        for mean in MEANS:
            mu = around(mean, rng)
            rate = single(rng.gamma(dispersion, mu / dispersion)).clip(max=1.6e7)
            for x in (rng.poisson(rate), rng.poisson(mu), np.zeros(VALUES)):
                share = special.digamma(x + theta) - special.digamma(theta) - np.log1p(mu / theta)
                yield Case(
                    NegativeBinomial,
                    (mu, theta),
                    x,
                    stats.nbinom.logpmf(x, theta, theta / (theta + mu)),
                    ((x - mu) / mu / (1 + mu / theta), share - (x - mu) / (theta + mu)),
                    mu,
                    mu + mu**2 / theta,
                )


def binomial(rng: np.random.Generator) -> Iterator[Case]:
    for total in (1, 16, 255, 65_535, 1_000_000):
        for logit in LOGITS:
            f = single(logit + 0.1 * rng.normal(size=VALUES))
            p, q = special.expit(f), special.expit(-f)
            draws = np.where(f < 0, rng.binomial(total, p), total - rng.binomial(total, q))
            for x in (draws, np.zeros(VALUES), np.full(VALUES, total)):
                rare = np.where(f < 0, x, total - x)  # where the share does not round to one
                log_prob = stats.binom.logpmf(rare, total, np.minimum(p, q))
                yield Case(
                    lambda f, n=float(total): PreciseBinomial(torch.tensor(n), logits=f),
                    (f,),
                    x,
                    log_prob,
                    (x * q - (total - x) * p,),
                    total * p,
                    total * p * q,
                )


def multinomial(rng: np.random.Generator) -> Iterator[Case]:
    for total in (0, 1, 100, 10_000, 1_000_000, 10_000_000):
        for spread, offset in ((0.0, 0.0), (1.0, 0.0), (4.0, -300.0)):
            f = single(offset + spread * rng.normal(size=VALUES))
            p = special.softmax(f)
            x = rng.multinomial(total, p)
            log_prob = stats.multinomial.logpmf(x, total, p / p.sum())
            yield Case(
                lambda f, n=total: CountsGivenTotal(n, f),
                (f,),
                x,
                np.asarray(log_prob),
                (x - total * p,),
                total * p,
                total * p * (1 - p),
            )


def dirichlet_multinomial(rng: np.random.Generator) -> Iterator[Case]:
    for total in (0, 1, 100, 10_000, 10_000_000):
        for size, spread in itertools.product(single([1e-2, 1.0, 300.0, 9e6]), (0.0, 1.0)):
            f = single(spread * rng.normal(size=VALUES))
            log_size = single(np.log(size))
            p = special.softmax(f)
            alpha = np.exp(log_size) * p
            for shares in (p, special.softmax(rng.normal(size=VALUES) - 10 * rng.random(VALUES))):
                x = rng.multinomial(total, shares)
                # SciPy's own has no value for a total of zero.
                given = stats.dirichlet_multinomial.logpmf(x, alpha, total) if total else 0.0
                more = special.digamma(alpha + x) - special.digamma(alpha)
                by_size = special.digamma(alpha.sum() + total) - special.digamma(alpha.sum())
                by_log_alpha = alpha * more
                yield Case(
                    lambda f, a, n=total: OverdispersedCountsGivenTotal(n, f, a),
                    (f, log_size),
                    x,
                    np.asarray(given),
                    (
                        by_log_alpha - p * by_log_alpha.sum(),
                        by_log_alpha.sum() - alpha.sum() * by_size,
                    ),
                    total * p,
                    total * p * (1 - p) * (total + alpha.sum()) / (1 + alpha.sum()),
                )


def beta(rng: np.random.Generator) -> Iterator[Case]:
    for size in np.logspace(-1, 6, 8):
        for ratio in (1e-2, 1.0, 30.0):
            a, b = around(size, rng), around(ratio * size, rng)
            x = single(rng.beta(a, b)).clip(1e-30, 1 - 2.0**-24)
            at = special.digamma(a + b)
            gradients = (np.log(x) + at - special.digamma(a), np.log1p(-x) + at)
            gradients = (gradients[0], gradients[1] - special.digamma(b))
            log_prob = stats.beta.logpdf(x, a, b)
            yield Case(OpenBeta, (a, b), x, log_prob, gradients, *stats.beta.stats(a, b))


def continuous_bernoulli(rng: np.random.Generator) -> Iterator[Case]:
    for logit in ON_THE_UNIT_INTERVAL:
        f = np.full(VALUES, single(logit))
        x = single(np.linspace(0, 1, VALUES))
        if logit == 0:
            same = np.ones(VALUES)
            yield Case(ContinuousBernoulli, (f,), x, 0 * x, (x - 0.5,), 0.5 * same, same / 12)
            continue
        # The exponential of rate |f|, cut off at 1, from one end or the other.
        rate = np.abs(f)
        distance = stats.truncexpon(rate, scale=1 / rate)
        log_prob = distance.logpdf(np.where(f < 0, x, 1 - x))
        half = f / 2
        mean = 0.5 + 0.5 * (1 / np.tanh(half) - 1 / half)
        with np.errstate(over="ignore"):
            variance = 0.25 * (1 / half**2 - 1 / np.sinh(half) ** 2)
        variance = variance if abs(logit) > 0.01 else np.full(VALUES, 1 / 12 - logit**2 / 240)
        yield Case(ContinuousBernoulli, (f,), x, log_prob, (x - mean,), mean, variance)


def one_bit(f: Tensor) -> Any:
    return BernoulliLikelihood(())(f.unsqueeze(-1))


def bernoulli(rng: np.random.Generator) -> Iterator[Case]:
    for logit in (*LOGITS, 1e4, -1e4):
        f = np.full(VALUES, single(logit))
        x = rng.integers(0, 2, VALUES)
        log_prob = special.log_expit(np.where(x == 1, f, -f))
        p = special.expit(f)
        yield Case(one_bit, (f,), x, log_prob, (x - p,), p, p * (1 - p))


def categorical(rng: np.random.Generator) -> Iterator[Case]:
    for levels in (1, 16, 255):
        for offset in (0.0, 1e4, -1e4):
            f = single(offset + rng.normal(size=(levels + 1, VALUES)))
            x = rng.integers(0, levels + 1, VALUES)
            log_p = special.log_softmax(f, 0)
            p, k = np.exp(log_p), np.arange(levels + 1)[:, None]
            mean = (p * k).sum(0)
            density = CategoricalLikelihood((), levels).forward
            yield Case(
                lambda f, density=density: density(f.movedim(0, -1)),
                (f,),
                x,
                log_p[x, np.arange(VALUES)],
                ((k == x) - p,),
                mean,
                (p * (k - mean) ** 2).sum(0),
            )


def discretized_logistic(rng: np.random.Generator) -> Iterator[Case]:
    for levels in (1, 15, 255, 65_535, 1_000_000):
        for share in (1e-4, 1e-2, 1.0, 100.0):
            loc = single(levels * (0.3 + 0.1 * rng.normal(size=VALUES)))
            scale = np.full(VALUES, single(share * levels))
            inside = rng.logistic(loc, scale).round().clip(0, levels)
            for x in (inside, np.zeros(VALUES), np.full(VALUES, levels)):
                low, high = (x - 0.5 - loc) / scale, (x + 0.5 - loc) / scale
                low, high = np.where(x > 0, low, -np.inf), np.where(x < levels, high, np.inf)
                # The same on the other side, where the smaller numbers are.
                low, high = np.where(low > -high, -high, low), np.where(low > -high, -low, high)
                log_high, log_low = special.log_expit(high), special.log_expit(low)
                log_prob = log_high + np.log(-np.expm1(log_low - log_high))
                density = lambda loc, scale, n=levels: DiscretizedLogistic(loc, scale, n)  # noqa: E731
                yield Case(density, (loc, scale), x, log_prob, (None, None))


FAMILIES = {
    family.__name__: family
    for family in (
        poisson,
        negative_binomial,
        binomial,
        multinomial,
        dirichlet_multinomial,
        beta,
        continuous_bernoulli,
        bernoulli,
        categorical,
        discretized_logistic,
    )
}
families = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES.keys())
dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


def assert_near(got: Tensor, right: Any, error: float) -> None:
    """Equal but for an error and a few roundings in float32; in float64 but for a tenth of it.

    Float64 loses 1e-7 where log-gammas are 1e8.
    """
    single = got.dtype == torch.float32
    rtol, atol = (2e-7, error) if single else (1e-10, error / 10)
    expected = torch.tensor(np.asarray(right), dtype=torch.float64)
    torch.testing.assert_close(got.double(), expected, rtol=rtol, atol=atol)


@families
@dtypes
def test_log_densities_and_their_gradients_are_right_over_the_whole_range(
    family: Any, dtype: torch.dtype
) -> None:
    for case in family(np.random.default_rng(0)):
        parameters = [torch.tensor(p, dtype=dtype, requires_grad=True) for p in case.parameters]
        density = case.density(*parameters)
        log_prob = density.log_prob(torch.tensor(case.x, dtype=dtype))
        assert log_prob.dtype == dtype
        assert_near(log_prob, case.log_prob, 1e-5)
        for got, right in zip(
            torch.autograd.grad(log_prob.sum(), parameters), case.gradients, strict=True
        ):
            assert got.isfinite().all()
            if right is not None:
                assert_near(got, right, 1e-4)
        # All values together, rounded once.
        total = density.to_event(len(density.batch_shape)).log_prob(
            torch.tensor(case.x, dtype=dtype)
        )
        assert_near(total, case.log_prob.sum(), 1e-3)


@torch.no_grad()
@families
def test_moments_are_right_over_the_whole_range(family: Any) -> None:
    for case in family(np.random.default_rng(0)):
        if case.mean is None:
            continue
        density = case.density(*(torch.tensor(p, dtype=torch.float32) for p in case.parameters))
        for got, right in ((density.mean, case.mean), (density.variance, case.variance)):
            expected = torch.tensor(np.asarray(right))
            torch.testing.assert_close(got.double(), expected, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_a_negative_binomial_of_any_large_dispersion_is_poisson() -> None:
    mean = torch.tensor([1e-3, 4.0, 1e4])
    x = torch.tensor([0.0, 7.0, 1.01e4])
    poisson = PrecisePoisson(mean).log_prob(x)
    for dispersion in (1e12, 1e20, 3e38):
        density = NegativeBinomial(mean, torch.tensor(dispersion))
        torch.testing.assert_close(density.log_prob(x), poisson, rtol=2e-7, atol=1e-5)
        draws = density.sample((10,))
        assert draws.isfinite().all()


@torch.no_grad()
@pytest.mark.parametrize("logit", [-1e4, -60.0, -3.0, 0.0, 1e-6, 0.24, 15.9, 60.0, 1e4])
def test_draws_of_the_continuous_bernoulli_follow_it(z_score: Any, logit: float) -> None:
    density = ContinuousBernoulli(torch.tensor([logit]))
    draws = density.sample((20_000,)).double()
    assert ((draws >= 0) & (draws <= 1)).all()
    assert z_score(draws, density.mean) < 5
    assert z_score((draws - density.mean).square(), density.variance) < 5
    edges = torch.linspace(0, 1, 1001, dtype=torch.float64)
    reach = min(1.0, 30 / abs(logit)) if logit else 1.0  # where the mass is
    x = (edges[1:] + edges[:-1]) / 2 * reach
    x = x if logit < 0 else 1 - x
    wide = ContinuousBernoulli(torch.tensor(logit, dtype=torch.float64))
    assert wide.log_prob(x).exp().mean().item() * reach == pytest.approx(1, abs=1e-3)


DRAWN = {
    "poisson": lambda f: PrecisePoisson(f.exp()),
    "binomial": lambda f: PreciseBinomial(torch.tensor(9.0), logits=f),
    "negative_binomial": lambda f: NegativeBinomial(f.exp(), torch.tensor([0.3, 5.0, 2e4])),
    "continuous_bernoulli": ContinuousBernoulli,
    "multinomial": lambda f: CountsGivenTotal(4, f).mask(True),
    "dirichlet_multinomial": lambda f: OverdispersedCountsGivenTotal(4, f, torch.tensor(1.0)),
}


@torch.no_grad()
@pytest.mark.parametrize("make", DRAWN.values(), ids=DRAWN.keys())
def test_densities_broadcast_over_particles_and_refuse_what_they_do_not_hold(make: Any) -> None:
    density = make(torch.randn(4, 2, 3))
    x = make(torch.randn(2, 3)).sample()
    log_prob = density.log_prob(x)
    for particle, each in enumerate(log_prob):
        rebuilt = density.expand((5, *density.batch_shape)).log_prob(x)[0, particle]
        torch.testing.assert_close(each, rebuilt)
    assert log_prob.shape == density.batch_shape
    assert density.sample((7,)).shape == (7, 4, 2, 3)
    with pytest.raises(ValueError, match="support"):
        density.log_prob(x - 10)
