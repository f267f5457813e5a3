"""The densities that guides are named after, their gradients, and limits in which they agree."""

from __future__ import annotations

from typing import Any

import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal, kl_divergence

from pyrovae import InferenceSpec
from pyrovae.errors import SpecError
from pyrovae.guides import (
    DeltaGuide,
    DiagonalGuide,
    FullRankGuide,
    IAFGuide,
    LaplaceGuide,
    LowRankGuide,
    MixtureGuide,
    SplineGuide,
)
from pyrovae.guides.building import build_guide
from pyrovae.kl import exact_kl
from pyrovae.networks import MLPEncoder
from pyrovae.normal_mixture import NormalMixture
from pyrovae.objectives import build_objective
from pyrovae.scale import positive, raw_scale
from pyrovae.specs.objectives import ELBOSpec

EXACT = {"rtol": 1e-10, "atol": 1e-10}  # float64
DIMS = 3


def encoder() -> MLPEncoder:
    return MLPEncoder((5,), widths=(6,))


@pytest.fixture
def x() -> Tensor:
    return torch.randn(4, 5).double()


@pytest.fixture
def z() -> Tensor:
    return torch.randn(4, DIMS).double()


def normal(*batch: int) -> Any:
    """An independent normal that is not the standard one."""
    loc, scale = torch.randn(*batch, DIMS).double(), torch.rand(*batch, DIMS).double() + 0.3
    return dist.Normal(loc, scale).to_event(1)


# Delta


def test_a_point_is_its_own_mean_and_every_draw(x: Tensor) -> None:
    guide = DeltaGuide(encoder(), DIMS).double()
    q, loc = guide(x), guide.loc(guide.encoder(x))
    assert torch.equal(q.mean, loc)
    assert torch.equal(q.rsample((6,)), loc.expand(6, 4, DIMS))
    assert (q.log_prob(loc) == 0).all()
    assert (q.log_prob(loc + 1e-9) == -torch.inf).all()


def test_a_point_at_beta_zero_is_the_plain_autoencoder(make_vae: Any) -> None:
    vae = make_vae(guide="delta")
    x = vae.sample(6)
    loss, _ = build_objective(ELBOSpec(), vae, x).loss_and_terms(vae, x, 0.0)
    code = vae.posterior.loc(vae.posterior.encoder(x))
    torch.testing.assert_close(loss, -vae.decode(code).log_prob(x).mean(), **EXACT)


# Laplace


def test_the_laplace_guide_has_the_density_of_its_name(x: Tensor, z: Tensor) -> None:
    guide = LaplaceGuide(encoder(), DIMS).double()
    features = guide.encoder(x)
    scale = positive(guide.scale(features))
    expected = -(z - guide.loc(features)).abs() / scale - (2 * scale).log()
    torch.testing.assert_close(guide(x).log_prob(z), expected.sum(-1), **EXACT)


@torch.no_grad()
@pytest.mark.parametrize("prior", [normal(4), dist.Laplace(*torch.rand(2, 4, DIMS)).to_event(1)])
def test_the_closed_form_kl_of_the_laplace_guide_is_the_mean_log_ratio(
    x: Tensor, prior: Any, z_score: Any
) -> None:
    q = LaplaceGuide(encoder(), DIMS).double()(x)
    kl = exact_kl(q, prior)
    draws = q.sample((20_000,))
    assert z_score(q.log_prob(draws) - prior.log_prob(draws), kl) < 5


# Low rank


def generic_low_rank(rank: int) -> LowRankGuide:
    guide = LowRankGuide(encoder(), DIMS, rank).double()
    nn.init.normal_(guide.factor.weight)
    return guide


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_the_covariance_of_the_low_rank_guide_is_that_of_its_parts(x: Tensor, rank: int) -> None:
    guide = generic_low_rank(rank)
    features = guide.encoder(x)
    scale = positive(guide.scale(features))
    columns = scale[..., None] * guide.factor(features).reshape(4, DIMS, rank)
    expected = scale.square().diag_embed() + columns @ columns.mT
    torch.testing.assert_close(guide(x).covariance_matrix, expected, **EXACT)
    assert torch.linalg.matrix_rank(columns @ columns.mT).eq(rank).all()


@pytest.mark.parametrize("rank", [1, 3])
@pytest.mark.parametrize("batch", [(), (4,)])
def test_the_kl_of_the_low_rank_guide_is_that_of_its_covariance(
    x: Tensor, rank: int, batch: tuple[int, ...]
) -> None:
    q, p = generic_low_rank(rank)(x), normal(*batch)
    kl = exact_kl(q, p)
    assert kl is not None
    same_q = MultivariateNormal(q.loc, q.covariance_matrix)
    expected = kl_divergence(same_q, MultivariateNormal(p.mean, p.variance.diag_embed()))
    torch.testing.assert_close(kl, expected, **EXACT)
    particles = q.expand((2, 4))
    torch.testing.assert_close(exact_kl(particles, p), expected.expand(2, 4), **EXACT)


def test_the_low_rank_guide_has_no_closed_form_but_against_normals_of_a_vector(x: Tensor) -> None:
    q = generic_low_rank(1)(x)
    assert exact_kl(q, dist.Laplace(torch.zeros(4, DIMS), 1.0).to_event(1)) is None
    assert exact_kl(q, dist.Normal(torch.zeros(2, 4, DIMS), 1.0).to_event(2)) is None


@torch.no_grad()
def test_the_low_rank_guide_of_full_rank_holds_every_full_rank_guide(x: Tensor, z: Tensor) -> None:
    full = FullRankGuide(encoder(), DIMS).double()
    nn.init.normal_(full.below.bias)
    nn.init.zeros_(full.scale.weight)
    q = full(x)
    covariance = q.covariance_matrix[0]
    smallest = torch.linalg.eigvalsh(covariance)[0].item()
    guide = LowRankGuide(full.encoder, DIMS, rank=DIMS).double()
    guide.loc.load_state_dict(full.loc.state_dict())
    for head in (guide.scale, guide.factor):
        nn.init.zeros_(head.weight)
    nn.init.constant_(guide.scale.bias, raw_scale(0.7 * smallest**0.5))
    noise = positive(guide.scale.bias)
    factor = torch.linalg.cholesky(covariance - noise.square().diag())
    guide.factor.bias.copy_((factor / noise[:, None]).flatten())
    torch.testing.assert_close(guide(x).log_prob(z), q.log_prob(z), **EXACT)


def test_the_low_rank_guide_does_not_start_at_a_saddle(x: Tensor) -> None:
    # Through draws, even a saddle has a gradient; its mean is zero, which the exact KL shows.
    guide = LowRankGuide(encoder(), DIMS, rank=2).double()
    kl = exact_kl(guide(x), normal(4))
    assert kl is not None
    kl.sum().backward()
    assert (guide.factor.weight.grad.abs().amax(1) > 1e-4).all()


def test_a_rank_above_the_length_of_the_code_is_refused() -> None:
    with pytest.raises(SpecError, match=r"inference\.guide\.rank = 4.*'full_rank'"):
        LowRankGuide(encoder(), DIMS, rank=4)


# Mixture


def parameters(components: int = 3, dims: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """Locations, scales and logits of a mixture whose components overlap."""
    loc = torch.randn(components, dims).double()
    scale = 0.5 + torch.rand(components, dims).double()
    return loc, scale, torch.randn(components).double()


def mixture(loc: Tensor, scale: Tensor, logits: Tensor) -> NormalMixture:
    return NormalMixture(dist.Categorical(logits=logits), dist.Normal(loc, scale).to_event(1))


def test_the_mixture_guide_is_the_mixture_of_its_components(x: Tensor, z: Tensor) -> None:
    guide = MixtureGuide(encoder(), DIMS, components=5).double()
    features = guide.encoder(x)
    loc = guide.loc(features).reshape(4, 5, DIMS)
    scale = positive(guide.scale(features)).reshape(4, 5, DIMS)
    weights = guide.logits(features).softmax(-1)
    densities = dist.Normal(loc, scale).log_prob(z[:, None]).sum(-1).exp()
    torch.testing.assert_close(guide(x).log_prob(z).exp(), (weights * densities).sum(-1), **EXACT)
    torch.testing.assert_close(guide(x).mean, (weights[..., None] * loc).sum(-2), **EXACT)


def test_a_mixture_guide_of_one_component_is_the_diagonal_guide(x: Tensor, z: Tensor) -> None:
    guide = MixtureGuide(encoder(), DIMS, components=1).double()
    diagonal = DiagonalGuide(guide.encoder, DIMS).double()
    diagonal.load_state_dict(guide.state_dict(), strict=False)
    torch.testing.assert_close(guide(x).log_prob(z), diagonal(x).log_prob(z), **EXACT)


def test_the_components_of_a_mixture_guide_start_apart(x: Tensor) -> None:
    q = MixtureGuide(encoder(), DIMS, components=4).double()(x)
    assert torch.pdist(q.component_distribution.mean.mean(0)).min() > 0.1


FUNCTIONS = {
    "mean": lambda z: z,
    "second_moments": lambda z: (z[..., :, None] * z[..., None, :]).flatten(-2),
}


def expectations(loc: Tensor, scale: Tensor, logits: Tensor) -> dict[str, Tensor]:
    """Of the functions above, in closed form."""
    weights = logits.softmax(-1)
    products = loc[:, :, None] * loc[:, None, :] + scale.square().diag_embed()
    return {
        "mean": weights @ loc,
        "second_moments": torch.einsum("k,kde->de", weights, products).flatten(),
    }


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_gradients_through_draws_of_a_mixture_are_those_of_the_expectation(
    function: str, dims: int, z_score: Any
) -> None:
    exact = [p.requires_grad_() for p in parameters(dims=dims)]
    means = expectations(*exact)[function]
    direction = torch.randn(means.shape).double()
    expected = torch.autograd.grad(
        means @ direction, exact, allow_unused=True, materialize_grads=True
    )
    draws = 20_000  # one set of parameters for each, so that each has its gradient
    leaves = [p.detach().expand(draws, *p.shape).clone().requires_grad_() for p in exact]
    z = mixture(*leaves).rsample()
    assert z.shape == (draws, dims)
    (FUNCTIONS[function](z) @ direction).sum().backward()
    for leaf, gradient in zip(leaves, expected, strict=True):
        assert leaf.grad is not None
        varies = leaf.grad.std(0) > 1e-9
        assert varies.any()
        assert z_score(leaf.grad[:, varies], gradient[varies]) < 5
        torch.testing.assert_close(leaf.grad.mean(0)[~varies], gradient[~varies], **EXACT)


@pytest.mark.parametrize(
    "draw",
    [lambda q: q.rsample((5, 2)), lambda q: q.expand((5, 2)).rsample()],
    ids=["sample_shape", "particles"],
)
def test_a_draw_of_a_mixture_keeps_the_noise_it_was_made_of(draw: Any) -> None:
    # With the derivative of z the conditional distribution functions do not change.
    ps = [p.requires_grad_() for p in parameters(dims=3)]
    z = draw(mixture(*ps))
    assert z.shape == (5, 2, 3)
    noise, _ = mixture(*ps)._noise(z)
    assert ((noise > 0) & (noise < 1)).all()
    for p in ps:
        for entry in noise.flatten():
            (gradient,) = torch.autograd.grad(entry, p, retain_graph=True)
            torch.testing.assert_close(gradient, torch.zeros_like(p), rtol=0, atol=1e-10)


@torch.no_grad()
def test_the_noise_of_a_mixture_is_uniform_and_independent(z_score: Any) -> None:
    q = mixture(*parameters(dims=3))
    noise, _ = q._noise(q.sample((20_000,)))
    centred = noise - 0.5
    assert z_score(centred, 0.0) < 5
    products = centred[:, :, None] * centred[:, None, :]
    assert z_score(products, torch.eye(3).double() / 12) < 5


@pytest.mark.parametrize("scale", [1e-5, 1e-2, 1e2])
def test_gradients_in_many_dimensions_neither_overflow_nor_vanish(scale: float) -> None:
    # One component: z = loc + scale ε, so the gradients of its sum are 1 and ε.
    loc, scales = torch.randn(1, 100), torch.full((1, 100), scale)
    leaves = [loc.requires_grad_(), scales.requires_grad_(), torch.zeros(1, requires_grad=True)]
    z = mixture(*leaves).rsample()
    z.sum().backward()
    torch.testing.assert_close(loc.grad, torch.ones(1, 100))
    # A draw next to its location is rounded.
    torch.testing.assert_close(scales.grad, (z - loc) / scale, rtol=1e-4, atol=1e-4)
    assert leaves[2].grad.abs().max() < 1e-6


# Flows

EVEN = 4  # coupling layers need it


@pytest.fixture(params=[IAFGuide, SplineGuide])
def flow_guide(request: pytest.FixtureRequest) -> Any:
    """A flow whose networks all have a say."""
    guide = request.param(encoder(), EVEN, layers=2, widths=(12, 12)).double()
    for parameter in guide.transform.parameters():
        nn.init.normal_(parameter, std=0.3)
    return guide


@pytest.mark.parametrize(
    ("family", "latent_dim"), [(IAFGuide, 1), (IAFGuide, 3), (SplineGuide, 2), (SplineGuide, 4)]
)
def test_a_flow_guide_starts_as_the_diagonal_guide(
    family: Any, latent_dim: int, x: Tensor
) -> None:
    guide = family(encoder(), latent_dim).double()
    diagonal = DiagonalGuide(guide.encoder, latent_dim).double()
    diagonal.load_state_dict(guide.state_dict(), strict=False)
    z = torch.randn(4, latent_dim).double()
    torch.testing.assert_close(guide(x).log_prob(z), diagonal(x).log_prob(z), **EXACT)


@pytest.mark.parametrize("family", [IAFGuide, SplineGuide])
def test_every_parameter_of_a_flow_guide_moves_from_the_second_step_on(
    make_vae: Any, family: Any
) -> None:
    vae = make_vae()
    vae.posterior = family(encoder(), 2).double()
    x = vae.sample(4)
    optimiser = torch.optim.SGD(vae.parameters(), lr=0.1)
    for _ in range(2):
        optimiser.zero_grad()
        build_objective(ELBOSpec(), vae, x).loss_and_terms(vae, x)[0].backward()
        optimiser.step()
    assert all(p.grad.any() for p in vae.posterior.parameters())


def test_a_flow_guide_puts_the_flow_of_noise_where_the_encoder_says(
    flow_guide: Any, x: Tensor
) -> None:
    torch.manual_seed(5)
    z = flow_guide(x).rsample()
    torch.manual_seed(5)
    features = flow_guide.encoder(x)
    noise = torch.normal(torch.zeros(4, EVEN).double(), 1.0)
    bent = flow_guide.transform(features)(noise)
    expected = flow_guide.loc(features) + positive(flow_guide.scale(features)) * bent
    torch.testing.assert_close(z, expected, **EXACT)


@pytest.mark.parametrize("latent_dim", [1, 3, 9])
def test_a_coupling_flow_of_an_odd_code_is_refused(latent_dim: int) -> None:
    with pytest.raises(SpecError, match=rf"latent_dim = {latent_dim}.*even length.*'iaf'"):
        SplineGuide(encoder(), latent_dim)


def test_particles_of_a_flow_guide_have_the_density_of_their_datum(
    flow_guide: Any, x: Tensor
) -> None:
    q = flow_guide(x)
    particles = q.expand((6, 4))
    z = particles.rsample()
    alone = torch.stack([flow_guide(x[i]).log_prob(z[:, i]) for i in range(4)], dim=1)
    torch.testing.assert_close(particles.log_prob(z), alone, rtol=1e-7, atol=1e-7)


def test_each_layer_of_the_iaf_is_affine_in_a_dimension_given_the_noise_before_it() -> None:
    guide = IAFGuide(encoder(), DIMS, layers=2, widths=(12, 12)).double()
    for parameter in guide.transform.parameters():
        nn.init.normal_(parameter, std=0.3)
    h, noise = torch.randn(6).double(), torch.randn(DIMS).double()
    forwards, backwards = (layer(h) for layer in guide.transform.transforms)
    first = torch.autograd.functional.jacobian(forwards, noise)
    second = torch.autograd.functional.jacobian(backwards, noise)
    assert torch.equal(first.triu(1), torch.zeros(DIMS, DIMS))
    assert torch.equal(second.tril(-1), torch.zeros(DIMS, DIMS))
    assert first.tril(-1).any()
    assert second.triu(1).any()
    step = torch.eye(DIMS)[2].double()  # the last dimension, given those before it
    line = torch.stack([forwards(noise + length * step) for length in (0, 1, 2)])
    torch.testing.assert_close(line[2] - line[1], line[1] - line[0], **EXACT)


# Building

SPECS: dict[str, tuple[dict[str, Any], Any]] = {
    "low_rank": ({"rank": 3}, lambda guide: guide.factor.out_features == 3 * EVEN),
    "mixture": ({"components": 2}, lambda guide: guide.logits.out_features == 2),
} | {
    kind: (
        {"layers": 2, "widths": [9, 8]},
        lambda guide: (
            [
                len(guide.transform.transforms),
                *(guide.transform.transforms[0].hyper[i].out_features for i in (0, 2)),
            ]
            == [2, 9, 8]
        ),
    )
    for kind in ("iaf", "spline")
}


@pytest.mark.parametrize("kind", SPECS)
def test_a_guide_is_built_with_the_options_of_its_specification(kind: str) -> None:
    options, fits = SPECS[kind]
    spec = InferenceSpec.model_validate({"guide": {"kind": kind, **options}}).guide
    assert fits(build_guide(spec, encoder(), EVEN))
    default = InferenceSpec.model_validate({"guide": {"kind": kind}}).guide
    assert not fits(build_guide(default, encoder(), EVEN))
