"""The sphere: von Mises–Fisher and uniform distributions, and the parts made of them."""

from __future__ import annotations

import math
from typing import Any

import pyro.distributions as dist
import pytest
import scipy.integrate
import scipy.special
import torch
from pyro.distributions import constraints
from torch import Tensor
from torch.distributions import Normal, kl_divergence
from torch.nn.functional import normalize

from pyrovae.errors import SpecError
from pyrovae.parts.distributions.polar_angle import PolarAngle
from pyrovae.parts.distributions.von_mises_fisher import (
    HypersphericalUniform,
    VonMisesFisher,
    unit,
)
from pyrovae.parts.families import VonMisesFisherFamily
from pyrovae.parts.families.von_mises_fisher import MAX_CONCENTRATION, bounded
from pyrovae.parts.guides import Guide
from pyrovae.parts.networks import MLPEncoder
from pyrovae.parts.priors import HypersphericalPrior, VampPrior

DIMS = [2, 3, 10, 40]
CONCENTRATIONS = [0.0, 1e-8, 1e-3, 0.3, 1.0, 4.0, 30.0, 250.0, 1e3, 1e4, 1e6]
every_dim = pytest.mark.parametrize("dim", DIMS)
every_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
# A wide one, one about as wide as the sphere, and a narrow one.
some_concentrations = pytest.mark.parametrize("kappa", [0.5, 8.0, 1e4])


def random_unit(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return normalize(torch.randn(*shape, dtype=dtype), dim=-1)


def bessel_log_norm(dim: int, kappa: float) -> float:
    r"""log of ∫ sin^{D-2}θ exp(κ (cos θ − 1)) dθ, by the modified Bessel function; or nan."""
    order = dim / 2 - 1
    half = 0.5 * math.log(math.pi) + math.lgamma((dim - 1) / 2)
    if kappa == 0:
        return half - math.lgamma(dim / 2)
    bessel = scipy.special.ive(order, kappa)  # times exp(-κ)
    return half + order * math.log(2 / kappa) + math.log(bessel) if bessel > 1e-280 else math.nan


def mean_length(dim: int, kappa: float) -> float:
    """A_D(κ), the length of the mean."""
    if kappa < 1e-6:
        return kappa / dim
    return scipy.special.ive(dim / 2, kappa) / scipy.special.ive(dim / 2 - 1, kappa)


def mean_length_slope(dim: int, kappa: float) -> float:
    """The derivative of A_D, by Riccati's equation."""
    length = mean_length(dim, kappa)
    return 1 - length**2 - (dim - 1) / kappa * length


@pytest.mark.parametrize("dim", [2, 3, 4, 5, 10, 40, 101, 500])
def test_the_normaliser_is_that_of_the_bessel_function(dim: int) -> None:
    kappa = torch.tensor(CONCENTRATIONS, dtype=torch.float64)
    expected = torch.tensor([bessel_log_norm(dim, k) for k in CONCENTRATIONS], dtype=torch.float64)
    known = expected.isfinite()
    assert known.sum() >= 6
    ours = PolarAngle(kappa, dim).log_norm
    torch.testing.assert_close(ours[known], expected[known], rtol=0, atol=1e-11)
    single = PolarAngle(kappa.float(), dim).log_norm.double()
    # Terms as large as dim × log tan(θ/2) cancel.
    torch.testing.assert_close(single[known], expected[known], rtol=0, atol=1e-6 + 1e-6 * dim)


@every_dim
def test_the_normalisers_derivatives_are_the_moments(dim: int) -> None:
    values = [0.3, 1.0, 4.0, 30.0, 250.0, 1e4]
    kappa = torch.tensor(values, dtype=torch.float64, requires_grad=True)
    angle = PolarAngle(kappa, dim)
    (slope,) = torch.autograd.grad(angle.log_norm.sum(), kappa, create_graph=True)
    expected = torch.tensor([1 - mean_length(dim, k) for k in values], dtype=torch.float64)
    torch.testing.assert_close(-slope, expected, rtol=1e-7, atol=0)
    torch.testing.assert_close(angle.versine, expected, rtol=1e-7, atol=0)
    (curvature,) = torch.autograd.grad(slope[:4].sum(), kappa)
    second = torch.tensor([mean_length_slope(dim, k) for k in values[:4]], dtype=torch.float64)
    torch.testing.assert_close(curvature[:4], second, rtol=1e-7, atol=0)


def exact_cdf(dim: int, kappa: float, u: float) -> float:
    """P(log tan(θ/2) < u), by scipy's adaptive quadrature over θ."""
    log_norm = bessel_log_norm(dim, kappa)

    def density(theta: float) -> float:
        return math.sin(theta) ** (dim - 2) * math.exp(kappa * (math.cos(theta) - 1) - log_norm)

    return scipy.integrate.quad(density, 0, 2 * math.atan(math.exp(u)), epsabs=1e-10)[0]


@every_dim
@some_concentrations
def test_an_angle_is_the_inverse_of_its_distribution_function_and_follows_it(
    monkeypatch: pytest.MonkeyPatch, dim: int, kappa: float
) -> None:
    levels = torch.tensor([1e-3, 0.02, 0.3, 0.5, 0.8, 0.99, 0.999], dtype=torch.float64)
    monkeypatch.setattr(Tensor, "uniform_", lambda self: levels)
    concentration = torch.tensor(kappa, dtype=torch.float64, requires_grad=True)
    draws = PolarAngle(concentration, dim).rsample(levels.shape)
    reached = [exact_cdf(dim, kappa, u) for u in draws.tolist()]
    assert reached == pytest.approx(levels.tolist(), abs=1e-5)
    # To stay at its level while the concentration moves, an angle has to move by as much as
    # draws of two nearby concentrations differ.
    step = 1e-3 * kappa
    up, down = (
        PolarAngle(concentration.detach() + s, dim).rsample(levels.shape) for s in (step, -step)
    )
    moved = [torch.autograd.grad(u, concentration, retain_graph=True)[0].item() for u in draws]
    expected = (up - down) / (2 * step)
    scale = expected.abs().max().item()
    assert moved == pytest.approx(expected.tolist(), abs=3e-3 * scale)


@every_dim
@every_dtype
def test_nothing_is_ever_infinite_or_off_the_sphere(dim: int, dtype: torch.dtype) -> None:
    kappa = torch.tensor(CONCENTRATIONS, dtype=dtype, requires_grad=True)
    raw = torch.randn(len(CONCENTRATIONS), dim, dtype=dtype, requires_grad=True)
    q = VonMisesFisher(unit(raw), kappa)
    z = q.rsample((2000,))
    assert constraints.sphere.check(z).all()
    others = random_unit(2000, 1, dim, dtype=dtype)
    loss = q.log_prob(z).mean() + q.log_prob(others).mean() + q.entropy().sum() + z[..., 0].mean()
    loss = loss + q.mean.sum() + kl_divergence(q, HypersphericalUniform(dim)).sum()
    loss.backward()
    assert loss.isfinite()
    assert kappa.grad is not None
    assert raw.grad is not None
    assert kappa.grad.isfinite().all()
    assert raw.grad.isfinite().all()


@every_dim
@pytest.mark.parametrize("level", [0.0, 1e-12, 1 - 2**-24])
def test_the_ends_of_the_uniform_numbers_give_finite_gradients(
    monkeypatch: pytest.MonkeyPatch, dim: int, level: float
) -> None:
    kappa = torch.tensor(CONCENTRATIONS, requires_grad=True)
    monkeypatch.setattr(Tensor, "uniform_", lambda self: self.fill_(level))
    u = PolarAngle(kappa, dim).rsample(kappa.shape)
    (slope,) = torch.autograd.grad(u.sum(), kappa)
    assert u.isfinite().all()
    assert slope.isfinite().all()


@every_dim
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_density_integrates_to_one_over_the_sphere(
    z_score: Any, dim: int, share: float
) -> None:
    uniform = HypersphericalUniform(dim, dtype=torch.float64)
    q = VonMisesFisher(random_unit(dim), torch.tensor(share * math.sqrt(dim)).double())
    z = uniform.sample((40_000,))
    weights = (q.log_prob(z) - uniform.log_prob(z)).exp()
    torch.testing.assert_close(weights.mean(), torch.ones(()).double(), rtol=0.05, atol=0)
    assert share == 0 or z_score(weights, 1.0) < 5


@every_dim
@some_concentrations
@torch.no_grad()
def test_draws_have_the_moments_and_the_entropy_of_the_density(
    z_score: Any, dim: int, kappa: float
) -> None:
    loc = random_unit(dim)
    q = VonMisesFisher(loc, torch.tensor(kappa).double())
    z = q.sample((8_000,))
    length = mean_length(dim, kappa)
    torch.testing.assert_close(q.mean, length * loc, rtol=1e-9, atol=1e-12)
    assert z_score(z, q.mean) < 5
    # E⟨μ, z⟩² = 1 − (D − 1) A / κ, and what is left to one is shared by the directions across.
    across = (dim - 1) * length / kappa
    outer = torch.outer(loc, loc)
    second = (1 - across) * outer + across / (dim - 1) * (torch.eye(dim) - outer)
    products = (z[:, :, None] * z[:, None, :]).flatten(1)
    assert z_score(products, second.flatten()) < 5
    assert z_score(-q.log_prob(z), q.entropy()) < 5


@every_dim
@some_concentrations
def test_gradients_of_an_expectation_are_those_of_its_closed_form(
    z_score: Any, dim: int, kappa: float
) -> None:
    # E⟨a, z⟩ = A(κ) ⟨a, μ⟩ and E⟨a, z⟩² as in the moments; one κ and one μ for each draw, so
    # that their gradients are one for each draw.
    draws = 8_000
    raw = random_unit(dim).expand(draws, dim).clone().requires_grad_()
    concentration = torch.full((draws,), kappa, dtype=torch.float64, requires_grad=True)
    z = VonMisesFisher(normalize(raw, dim=-1), concentration).rsample()
    a = random_unit(dim)
    mu = raw[0].detach()
    along, length, slope = a @ mu, mean_length(dim, kappa), mean_length_slope(dim, kappa)
    by_raw, by_kappa = torch.autograd.grad((z @ a).sum(), [raw, concentration], retain_graph=True)
    assert z_score(by_raw, length * (a - along * mu)) < 5
    assert z_score(by_kappa, slope * along) < 5
    by_raw, by_kappa = torch.autograd.grad((z @ a).square().sum(), [raw, concentration])
    spread = length / kappa  # E⟨a, z⟩² = spread + (1 − D spread) ⟨a, μ⟩²
    spread_slope = slope / kappa - length / kappa**2
    assert z_score(by_raw, 2 * (1 - dim * spread) * along * (a - along * mu)) < 5
    assert z_score(by_kappa, spread_slope * (1 - dim * along**2)) < 5


@every_dim
@pytest.mark.parametrize("first", [1.0, -1.0, 0.0, 1e-9, -1e-9])
def test_a_location_anywhere_on_the_axis_has_tame_draws(dim: int, first: float) -> None:
    loc = torch.zeros(dim, dtype=torch.float64)
    loc[0], loc[-1] = first, math.sqrt(1 - first**2)
    loc.requires_grad_()
    z = VonMisesFisher(loc, torch.tensor(10.0).double()).rsample((1000,))
    torch.testing.assert_close(z.norm(dim=-1), torch.ones(1000).double())
    assert all(
        torch.autograd.grad(z[i, 0], loc, retain_graph=True)[0].norm() < 5 for i in range(20)
    )


@every_dim
def test_without_concentration_it_is_uniform(dim: int) -> None:
    z, uniform = random_unit(9, dim), HypersphericalUniform(dim)
    q = VonMisesFisher(random_unit(dim), torch.zeros(()).double())
    torch.testing.assert_close(q.log_prob(z), uniform.log_prob(z))
    torch.testing.assert_close(q.entropy(), uniform.entropy().double())
    torch.testing.assert_close(q.mean, uniform.mean.double(), atol=1e-12, rtol=0)


def test_the_density_of_the_uniform_is_one_over_the_area() -> None:
    for dim, area in ((2, 2 * math.pi), (3, 4 * math.pi), (4, 2 * math.pi**2)):
        log_prob = HypersphericalUniform(dim).log_prob(random_unit(dim)).item()
        assert log_prob == pytest.approx(-math.log(area))


@every_dim
def test_a_concentrated_one_is_a_normal_in_the_directions_along_the_sphere(dim: int) -> None:
    kappa = torch.tensor(1e6).double()
    loc = torch.eye(dim, dtype=torch.float64)[0]
    z = VonMisesFisher(loc, kappa).sample((500,))
    normal = Normal(torch.zeros(dim - 1).double(), kappa.rsqrt())
    by_normal = normal.log_prob(z[:, 1:]).sum(-1)
    torch.testing.assert_close(
        VonMisesFisher(loc, kappa).log_prob(z), by_normal, rtol=0, atol=1e-3 * dim
    )


@pytest.mark.parametrize("kappa", [0.0, 0.4, 7.0, 1e3])
def test_on_the_circle_it_is_von_mises(kappa: float) -> None:
    loc, angle = torch.rand(2, 50).double() * 2 * math.pi
    point = torch.stack([angle.cos(), angle.sin()], -1)
    axis = torch.stack([loc.cos(), loc.sin()], -1)
    concentration = torch.tensor(kappa).double()
    expected = torch.tensor(
        [scipy.stats.vonmises(kappa or 1e-12).logpdf(a) for a in (angle - loc).tolist()]
    )
    ours = VonMisesFisher(axis, concentration).log_prob(point)
    torch.testing.assert_close(ours, expected.double(), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("kappa", [0.05, 2.0, 60.0, 1e4])
def test_the_kl_to_the_uniform_and_its_gradient(dim: int, kappa: float) -> None:
    concentration = torch.tensor(kappa, dtype=torch.float64, requires_grad=True)
    kl = kl_divergence(VonMisesFisher(random_unit(dim), concentration), HypersphericalUniform(dim))
    length = mean_length(dim, kappa)
    uniform = bessel_log_norm(dim, 0.0)
    expected = kappa * (length - 1) - bessel_log_norm(dim, kappa) + uniform
    assert kl.item() == pytest.approx(expected, rel=1e-9, abs=1e-12)
    kl.backward()
    assert concentration.grad is not None
    slope = kappa * mean_length_slope(dim, kappa)
    # The expected slope is itself a difference of numbers near one.
    assert concentration.grad.item() == pytest.approx(slope, rel=1e-9, abs=1e-13 * kappa)


@every_dim
def test_the_kl_is_the_mean_log_ratio_of_draws(z_score: Any, dim: int) -> None:
    p = HypersphericalUniform(dim)
    q = VonMisesFisher(random_unit(dim), torch.tensor(5.0).double())
    z = q.sample((20_000,))
    assert z_score(q.log_prob(z) - p.log_prob(z), kl_divergence(q, p)) < 5


def test_the_kl_between_spheres_of_other_dimensions_is_refused() -> None:
    q = VonMisesFisher(random_unit(3), torch.tensor(5.0).double())
    with pytest.raises(ValueError, match="sphere"):
        kl_divergence(q, HypersphericalUniform(4))


def test_expanding_changes_shapes_and_nothing_else() -> None:
    q = VonMisesFisher(random_unit(4, 1, 3), torch.tensor([1.0, 20.0]).double())
    assert q.batch_shape == (4, 2)
    wide = q.expand([5, 4, 2])
    assert wide.rsample((6,)).shape == (6, 5, 4, 2, 3)
    assert wide.mean.shape == (5, 4, 2, 3)
    assert wide.entropy().shape == (5, 4, 2)
    z = random_unit(5, 4, 2, 3)
    assert torch.equal(wide.log_prob(z), q.log_prob(z))
    assert torch.equal(wide.mean[1], q.mean)
    torch.manual_seed(1)
    drawn = wide.rsample()
    torch.manual_seed(1)
    assert torch.equal(drawn, q.rsample((5,)))
    uniform = HypersphericalUniform(3, dtype=torch.float64).expand([5, 4])
    assert uniform.sample((2,)).shape == (2, 5, 4, 3)
    assert uniform.log_prob(z[:, :, 0]).shape == uniform.entropy().shape == (5, 4)


def test_a_draw_without_gradient_leaves_the_gradient_of_the_density() -> None:
    concentration = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    q = VonMisesFisher(random_unit(3), concentration)
    z = q.sample()
    q.log_prob(z).backward()
    assert concentration.grad is not None
    along = q.loc @ z
    assert concentration.grad.item() == pytest.approx((along - mean_length(3, 3.0)).item())


def test_a_mixture_has_the_sphere_as_support_and_samples_its_density(z_score: Any) -> None:
    components = VonMisesFisher(random_unit(3, 10), torch.tensor([2.0, 9.0, 40.0]).double())
    mixture = dist.MixtureSameFamily(
        dist.Categorical(torch.tensor([0.2, 0.3, 0.5]).double()), components
    )
    z = mixture.sample((20_000,))
    assert mixture.support.check(z).all()
    assert not mixture.support.check(1.01 * z).any()
    assert z_score(z, mixture.mean) < 5
    ratio = (HypersphericalUniform(10).log_prob(z) - mixture.log_prob(z)).exp()
    assert z_score(ratio, 1.0) < 5


def test_values_off_the_sphere_are_refused() -> None:
    q = VonMisesFisher(random_unit(3), torch.tensor(5.0).double(), validate_args=True)
    for density in (q, HypersphericalUniform(3, validate_args=True)):
        with pytest.raises(ValueError, match="Sphere"):
            density.log_prob(1.01 * random_unit(3))
    with pytest.raises(ValueError, match="concentration"):
        VonMisesFisher(random_unit(3), torch.tensor(-1.0).double(), validate_args=True)
    with pytest.raises(ValueError, match="loc"):
        VonMisesFisher(2 * random_unit(3), torch.tensor(1.0).double(), validate_args=True)


def test_a_small_vector_has_a_direction_and_a_gradient() -> None:
    vector = torch.tensor([[0.0, 0.0, 0.0], [0.0, -1e-7, 0.0], [0.0, -3e-6, 0.0], [3, 0, 4.0]])
    vector.requires_grad_()
    direction = unit(vector)
    torch.testing.assert_close(direction.norm(dim=-1), torch.ones(4))
    torch.testing.assert_close(direction[2:], torch.tensor([[0, -1.0, 0], [0.6, 0, 0.8]]))
    direction.sum().backward()
    assert vector.grad is not None
    assert vector.grad.isfinite().all()
    assert vector.grad.any(-1).all()


def make_guide(dim: int) -> Guide:
    return Guide(MLPEncoder((5,), widths=(6,)), VonMisesFisherFamily(6, dim))


@every_dim
@every_dtype
@pytest.mark.parametrize("size", [0.0, 1.0, 1e3, 1e8])
def test_a_guide_has_a_finite_density_and_gradient_however_large_its_numbers(
    dim: int, dtype: torch.dtype, size: float
) -> None:
    guide = make_guide(dim).to(dtype)
    with torch.no_grad():
        for head in (guide.family.loc, guide.family.concentration):
            head.weight.mul_(size)
            head.bias.mul_(size)
    q: Any = guide(torch.randn(16, 5, dtype=dtype))
    p = HypersphericalPrior(dim).to(dtype)(guide)
    assert (q.concentration <= MAX_CONCENTRATION).all()
    z = q.rsample()
    loss = (z.sum(-1) - q.log_prob(z) + p.log_prob(z) + kl_divergence(q, p)).mean()
    loss.backward()
    assert loss.isfinite()
    assert z.dtype == p.sample().dtype == dtype
    assert all(w.grad is not None and w.grad.isfinite().all() for w in guide.parameters())


@every_dim
@torch.no_grad()
def test_a_guide_starts_neither_at_a_point_nor_at_the_prior(dim: int) -> None:
    q: Any = make_guide(dim)(torch.randn(100, 5))
    length = q.mean.norm(dim=-1)
    assert length.min() > 0.5
    assert length.max() < 0.99


def test_the_bound_of_the_concentration_is_smooth_and_far_away() -> None:
    kappa = torch.tensor([1.0, 100.0, 1e4, 1e6, 1e9], dtype=torch.float64, requires_grad=True)
    bound = bounded(kappa)
    torch.testing.assert_close(bound[:3], kappa[:3], rtol=0.011, atol=0)
    assert bound[3].item() == pytest.approx(MAX_CONCENTRATION / 2)
    assert (bound < MAX_CONCENTRATION).all()
    (slope,) = torch.autograd.grad(bound.sum(), kappa)
    assert (slope > 0).all()


@pytest.mark.parametrize("dim", [2, 10, 40])
def test_a_vampprior_of_this_guide_is_the_mean_of_it(dim: int) -> None:
    guide = make_guide(dim).double()
    u = torch.rand(3, 5).double()
    z = random_unit(7, dim)
    prior = VampPrior(dim, u).double()(guide)
    each = guide(u).log_prob(z[:, None]).exp()
    torch.testing.assert_close(prior.log_prob(z).exp(), each.mean(-1))
    assert prior.sample((6,)).shape == (6, dim)


@pytest.mark.parametrize("make", [HypersphericalPrior, make_guide])
def test_a_code_of_length_one_is_refused_by_name(make: Any) -> None:
    with pytest.raises(SpecError, match=r"model\.latent_dim = 1"):
        make(1)


def test_a_distribution_on_two_points_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        VonMisesFisher(torch.ones(1), torch.ones(()))
