"""Latents on the circle: the same verdicts wherever the numbers of a turn begin."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from scipy import special, stats
from torch import Tensor, nn
from torch.distributions import AffineTransform, ExpTransform

from pyrovae.diagnosis.aggregate import check_aggregate
from pyrovae.diagnosis.calibration import check_calibration
from pyrovae.diagnosis.collapse import check_collapse
from pyrovae.diagnosis.mcmc import _compare, check_mcmc
from pyrovae.diagnosis.pit import _among_draws
from pyrovae.errors import SpecError
from pyrovae.evaluation import annealed_importance
from pyrovae.evaluation.angles import is_angular, unwrapped
from pyrovae.evaluation.annealed_importance import anneal, bracket
from pyrovae.evaluation.hamiltonian import guide_scale
from pyrovae.evaluation.local import LocalPosterior
from pyrovae.programs.autoencoder import Autoencoder, Formulas
from pyrovae.specs.computation import Computation

ANGLE = torch.tensor([True])
EAGER = Computation("off")  # compiling would take longer than these few steps


class Direction(Autoencoder):
    """a ~ VonMises(3, 2), x_d ~ VonMises(a, 4) twice: the posterior is von Mises, around π.

    Args:
        turn: By how much the guide is turned away from it.
        factor: The guide's concentration, in that of the posterior.
        wrap: How the guide's distribution is written.
        prior: Another prior, of which the guide takes no notice if it is uniform.
    """

    vectorisable = True
    loc, concentration, precision = 3.0, 2.0, 4.0

    def __init__(
        self, turn: float = 0.0, factor: float = 1.0, wrap: Any = None, prior: Any = None
    ) -> None:
        super().__init__()
        self.turn, self.factor, self.wrap = turn, factor, wrap or (lambda q: q)
        self.zero = nn.Parameter(torch.zeros((), dtype=torch.float64))
        self.prior = prior or dist.VonMises(as_double(self.loc), as_double(self.concentration))
        if isinstance(self.prior, dist.Uniform):
            self.concentration = 0.0

    def posterior(self, x: Tensor) -> dist.VonMises:
        sine = self.concentration * math.sin(self.loc) + self.precision * x.sin().sum(-1)
        cosine = self.concentration * math.cos(self.loc) + self.precision * x.cos().sum(-1)
        return dist.VonMises(torch.atan2(sine, cosine), torch.hypot(sine, cosine))

    def evidence(self, x: Tensor) -> np.ndarray:
        """log p(x): the posterior's constant over those of prior and likelihoods."""
        return log_bessel(self.posterior(x).concentration.numpy()) - (
            log_bessel(self.concentration)
            + 2 * (log_bessel(self.precision) + math.log(2 * math.pi))
        )

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            a = pyro.sample("a", self.prior.expand([len(x)]))
            likelihood = dist.VonMises(a.unsqueeze(-1) + self.zero, torch.full_like(x, 4.0))
            pyro.sample("x", likelihood.to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        q = self.posterior(x)
        q = dist.VonMises(q.loc + self.turn, self.factor * q.concentration)
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("a", self.wrap(q))

    def formulas(self) -> Formulas:
        return Formulas("VonMises", "VonMises", "VonMises")

    def data(self, count: int) -> Tensor:
        a = self.prior.sample((count, 1)).expand(-1, 2)
        return dist.VonMises(a, as_double(self.precision)).sample()


def as_double(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def log_bessel(kappa: Any) -> Any:
    return np.log(special.ive(0, kappa)) + kappa


def turned_once(q: Any) -> Any:
    """The same angles, a full turn on."""
    return dist.TransformedDistribution(q, [AffineTransform(2 * math.pi, 1.0)])


def judged(found: Any) -> str:
    """The grade if the chains had been long enough."""
    same = {"rhat": np.full(found.rhat.shape, 1.0), "ess": np.full(found.ess.shape, 900.0)}
    return replace(found, **same).verdict().grade


@pytest.mark.parametrize(
    "options",
    [{"wrap": turned_once}, {"prior": dist.Uniform(-as_double(math.pi), math.pi)}],
    ids=["a turn on", "uniform prior"],
)
def test_an_exact_guide_agrees_with_the_chains(options: Any) -> None:
    autoencoder = Direction(**options)
    x = autoencoder.data(8)
    found = check_mcmc(autoencoder, x, warmup=30, draws=100, computation=EAGER)
    assert found.rhat.max() < 1.15  # so short are they
    assert judged(found) == "ok"
    assert np.abs(found.mean_shift.mean(0)).max() < 0.15
    np.testing.assert_allclose(found.scale_ratio.mean(0), 1.0, atol=0.08)
    np.testing.assert_allclose(found.guide_coverage.mean(0), 0.9, atol=0.03)
    assert np.abs(found.z).max() < math.pi + 1e-6
    posterior = autoencoder.posterior(x)
    kappa = posterior.concentration.numpy()
    length = special.ive(1, kappa) / special.ive(0, kappa)
    along = np.cos(found.z.reshape(-1, 8) - posterior.loc.numpy())
    across = np.sin(found.z.reshape(-1, 8) - posterior.loc.numpy())
    for values, expected in ((along, length), (across, 0.0)):
        error = values.std(0) / np.sqrt(found.ess[:, 0] / 4)
        assert (np.abs(values.mean(0) - expected) < 5 * error).all()


@pytest.mark.parametrize(
    "options",
    [{"turn": 0.5}, pytest.param({"turn": math.pi}, marks=pytest.mark.slow), {"factor": 2.0}],
)
def test_a_wrong_guide_is_found_by_the_chains(options: Any) -> None:
    autoencoder = Direction(**options)
    x = autoencoder.data(8)
    found = check_mcmc(autoencoder, x, warmup=15, draws=40, computation=EAGER)
    assert judged(found) != "ok"
    assert "do not use the guide's means" in found.verdict().advice
    if "turn" in options:
        assert (np.abs(found.mean_shift) > 0.6).all()
        assert np.abs(found.scale_ratio - 1).max() < 0.4
    else:
        assert np.abs(found.mean_shift).max() < 0.8
        assert ((found.scale_ratio < 1) == (options["factor"] > 1)).all()


def test_it_makes_no_difference_where_a_turn_begins() -> None:
    guide = dist.VonMises(torch.tensor([0.0, 3.0]).double(), 3.0).sample((500, 1))
    chains = dist.VonMises(torch.tensor([0.4, 3.5]).double(), 2.0).sample((800, 1))
    angles = torch.tensor([True, True])
    found = _compare(guide, chains, angles, point=False)
    assert (found["mean_shift"] < 0).all()
    turned = _compare(guide + 2.5 + 4 * math.pi, chains + 2.5, angles, point=False)
    reflected = _compare(-guide, -chains, angles, point=False)
    for name, values in found.items():
        np.testing.assert_allclose(turned[name], values, atol=1e-9)
        sign = -1 if name == "mean_shift" else 1
        np.testing.assert_allclose(reflected[name], sign * values, atol=1e-9)


def test_concentrated_angles_are_compared_like_real_numbers() -> None:
    guide, chains = 1e-3 * torch.randn(2, 500, 1, 1, dtype=torch.float64)
    real = _compare(guide + 1e-3, 2 * chains, ~ANGLE, point=False)
    circular = _compare(guide + 1e-3 + math.pi, 2 * chains + math.pi, ANGLE, point=False)
    for name, values in real.items():
        np.testing.assert_allclose(circular[name], values, rtol=1e-4)


def test_scales_are_those_around_the_mean_direction() -> None:
    autoencoder = Direction(factor=100.0)
    local = LocalPosterior(autoencoder, autoencoder.data(5))
    with torch.no_grad():
        scale = guide_scale(local)[:, 0]
        expected = (100 * autoencoder.posterior(local.x).concentration).rsqrt()
    np.testing.assert_allclose(scale, expected, rtol=0.4)


@pytest.mark.parametrize("kappa", [0.01, 1.0, 50.0])
def test_places_among_draws_are_uniform(kappa: float) -> None:
    z = torch.from_numpy(np.random.default_rng(0).vonmises(math.pi, kappa, (100, 2000, 1)))
    pit, score, *_ = _among_draws(z, ANGLE)
    assert stats.kstest(pit.flatten(), "uniform").pvalue > 0.01
    assert abs(score.mean()) < 5 / 2000**0.5
    assert score.var().item() == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize(
    ("options", "grade"),
    [
        ({}, "ok"),
        ({"wrap": turned_once}, "ok"),
        ({"turn": 0.4}, "FAIL"),
        ({"factor": 2.0}, "FAIL"),
    ],
)
def test_calibration_on_the_circle(options: Any, grade: str) -> None:
    autoencoder = Direction(**options)
    found = check_calibration(autoencoder, autoencoder.data(20), 300)
    assert found.active.all()
    assert found.verdict().grade == grade, found.verdict()


def test_a_direction_that_says_nothing_is_collapsed() -> None:
    """Of no concentration, wherever its location; or at one location, where a turn ends."""
    x = Direction().data(200)
    uniform = check_collapse(Direction(factor=1e-6), x)
    assert not uniform.varies.any()
    end = check_collapse(Direction(wrap=lambda q: q.__class__(math.pi + 0 * q.loc, 9.0)), x)
    assert not end.varies.any()
    exact = check_collapse(Direction(), x)
    assert exact.active.all()
    length = special.i1(2.0) / special.i0(2.0)
    np.testing.assert_allclose(exact.prior_variance, 1 - length**2, rtol=0.1)


def test_the_aggregated_posterior_on_the_circle() -> None:
    x = Direction().data(400)
    for options in ({}, {"wrap": turned_once}):
        found = check_aggregate(Direction(**options), x)
        assert found.verdict().grade == "ok", found.verdict()
    assert check_aggregate(Direction(turn=0.7), x).verdict().grade == "FAIL"


def test_annealing_gives_the_evidence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(annealed_importance, "PILOT_TRIES", 5)
    autoencoder = Direction()
    x = autoencoder.data(40)
    found = anneal(autoencoder, x, steps=3, chains=2)
    np.testing.assert_allclose(found.log_prob, autoencoder.evidence(x), atol=1e-6)
    bounds = bracket(autoencoder, x, steps=10, start="prior")
    evidence = autoencoder.evidence(bounds.x)
    for excess in (evidence - bounds.lower.numpy(), bounds.upper.numpy() - evidence):
        assert -4 * excess.std() / 40**0.5 < excess.mean() < 0.2


def von_mises(*shape: int) -> Any:
    return dist.VonMises(torch.zeros(*shape), torch.ones(*shape))


def bivariate() -> Any:
    zero, one = torch.tensor(0.0), torch.tensor(1.0)
    return dist.SineBivariateVonMises(zero, zero, 5 * one, 5 * one, correlation=one)


@pytest.mark.parametrize(
    "distribution",
    [
        von_mises(3),
        torch.distributions.VonMises(torch.zeros(3), 1.0),
        von_mises(3).to_event(1),
        von_mises(2, 3).to_event(2),
        von_mises(1).expand([4]),
        von_mises(3).mask(torch.tensor([True, False, True])),
        dist.MixtureSameFamily(dist.Categorical(torch.ones(3)), von_mises(3)),
        dist.MixtureSameFamily(dist.Categorical(torch.ones(3)), von_mises(3, 2).to_event(1)),
        bivariate(),
        dist.SineSkewed(bivariate(), torch.tensor([0.1, 0.2])),
        dist.TransformedDistribution(von_mises(3), [AffineTransform(1.0, -1.0)]).to_event(1),
    ],
    ids=lambda distribution: type(distribution).__name__,
)
def test_angular_families(distribution: Any) -> None:
    assert is_angular(distribution)


@pytest.mark.parametrize(
    "distribution",
    [
        dist.Normal(0.0, 1.0),
        dist.LogNormal(torch.zeros(3), 1.0).to_event(1),
        dist.TransformedDistribution(von_mises(3), [AffineTransform(0.0, 2.0)]).to_event(1),
        dist.TransformedDistribution(von_mises(3), [ExpTransform()]),
        dist.ProjectedNormal(torch.ones(3)),
    ],
    ids=lambda distribution: type(distribution).__name__,
)
def test_other_families(distribution: Any) -> None:
    assert not is_angular(distribution)


class OneSite(Autoencoder):
    """A site of any distribution, which the guide has too."""

    vectorisable = True

    def __init__(self, distribution: Any) -> None:
        super().__init__()
        self.distribution = distribution
        self.zero = nn.Parameter(torch.zeros(()))

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("latent", self.distribution)
            for _ in self.distribution.event_shape:
                z = z.sum(-1)
            pyro.sample("x", dist.Normal(z + self.zero, 1.0), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("latent", self.distribution)

    def formulas(self) -> Formulas:
        return Formulas("any", "Normal", "any")


@pytest.mark.parametrize(
    ("distribution", "why"),
    [
        (dist.TransformedDistribution(von_mises(1), [ExpTransform()]), "from an angle"),
        (
            dist.TransformedDistribution(von_mises(1), [AffineTransform(0.0, 2.0)]),
            "from an angle",
        ),
        (dist.FoldedDistribution(von_mises(1)), "from an angle"),
        (dist.RelaxedBernoulliStraightThrough(torch.tensor(0.5), torch.ones(1)), "discrete"),
        (
            dist.RelaxedOneHotCategoricalStraightThrough(torch.tensor(0.5), torch.ones(3)),
            "discrete",
        ),
        (dist.OneHotCategoricalStraightThrough(torch.ones(3)), "is discrete"),
        (
            dist.ZeroInflatedDistribution(dist.Normal(torch.zeros(1), 1.0), gate=as_double(0.5)),
            "single points",
        ),
    ],
    ids=lambda distribution: type(distribution).__name__,
)
def test_what_chains_cannot_follow_is_refused_by_name(distribution: Any, why: str) -> None:
    with pytest.raises(SpecError, match=f"site 'latent' .*{why}"):
        check_mcmc(OneSite(distribution), torch.zeros(2), warmup=1, draws=4)


@pytest.mark.parametrize(
    "distribution",
    [bivariate(), von_mises(3).to_event(1), dist.SineSkewed(bivariate(), torch.ones(2) / 4)],
    ids=["bivariate", "product", "skewed"],
)
def test_chains_of_several_angles_stay_within_a_turn(distribution: Any) -> None:
    found = check_mcmc(
        OneSite(distribution), torch.zeros(2), warmup=5, draws=20, computation=EAGER
    )
    assert np.abs(found.z).max() < math.pi + 1e-6
    assert np.isfinite(found.rhat).all()


def test_numbers_that_never_vary_are_no_fault_of_the_chains() -> None:
    """Of a Cholesky factor the upper triangle is zero, and of a correlation's the first is 1."""
    distribution = dist.LKJCholesky(3, torch.tensor(2.0))
    found = check_mcmc(
        OneSite(distribution), torch.zeros(4), warmup=5, draws=15, computation=EAGER
    )
    fixed = np.array([1, 1, 1, 0, 0, 1, 0, 0, 0], dtype=bool)
    assert (found.rhat[:, fixed] == 1).all()
    assert (found.mean_shift[:, fixed] == 0).all()
    assert (found.rhat[:, ~fixed] != 1).all()
    assert np.isfinite(found.rhat).all()
    assert all(np.isfinite(number.value) for number in found.numbers())


def test_other_numbers_are_left_alone() -> None:
    z = torch.randn(50, 3, 2) * 100
    angles = torch.tensor([True, False])
    turned = unwrapped(z, angles)
    assert torch.equal(turned[..., 1], z[..., 1])
    turns = (turned - z)[..., 0] / (2 * math.pi)
    torch.testing.assert_close(turns, turns.round(), atol=1e-4, rtol=0)
    assert torch.equal(unwrapped(z, ~angles & angles), z)
