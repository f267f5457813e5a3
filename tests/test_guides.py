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
from pyrovae.guides.mixture import DiagonalNormalMixture
from pyrovae.kl import exact_kl
from pyrovae.networks import MLPEncoder
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
    noise = torch.linalg.eigvalsh(covariance)[0] / 2
    factor = torch.linalg.cholesky(covariance - noise * torch.eye(DIMS))
    guide = LowRankGuide(full.encoder, DIMS, rank=DIMS).double()
    guide.loc.load_state_dict(full.loc.state_dict())
    nn.init.zeros_(guide.scale.weight)
    nn.init.constant_(guide.scale.bias, raw_scale(noise.sqrt().item()))
    guide.factor.bias.copy_((factor / noise.sqrt()).flatten())
    torch.testing.assert_close(guide(x).log_prob(z), q.log_prob(z), **EXACT)


def test_the_low_rank_guide_does_not_start_at_a_saddle(make_vae: Any) -> None:
    vae = make_vae(guide="low_rank")
    vae.posterior = LowRankGuide(encoder(), 2, rank=2).double()
    x = vae.sample(4)
    build_objective(ELBOSpec(), vae, x).loss_and_terms(vae, x)[0].backward()
    assert vae.posterior.factor.weight.grad.any(dim=1).all()


def test_a_rank_above_the_length_of_the_code_is_refused() -> None:
    with pytest.raises(SpecError, match=r"inference\.guide\.rank = 4.*'full_rank'"):
        LowRankGuide(encoder(), DIMS, rank=4)


# Mixture


def parameters(components: int = 3, dims: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """Locations, scales and logits of a mixture whose components overlap."""
    loc = torch.randn(components, dims).double()
    scale = 0.5 + torch.rand(components, dims).double()
    return loc, scale, torch.randn(components).double()


def mixture_of_components(loc: Tensor, scale: Tensor, logits: Tensor) -> Any:
    normals = dist.Normal(loc, scale).to_event(1)
    return dist.MixtureSameFamily(dist.Categorical(logits=logits), normals)


def test_the_mixture_guide_is_the_mixture_of_its_components(x: Tensor, z: Tensor) -> None:
    guide = MixtureGuide(encoder(), DIMS, components=5).double()
    features = guide.encoder(x)
    loc = guide.loc(features).reshape(4, 5, DIMS)
    scale = positive(guide.scale(features)).reshape(4, 5, DIMS)
    expected = mixture_of_components(loc, scale, guide.logits(features))
    q = guide(x)
    torch.testing.assert_close(q.log_prob(z), expected.log_prob(z), **EXACT)
    for particles in (q, q.expand((2, 4))):
        shape = (*particles.batch_shape, DIMS)
        for name in ("mean", "variance", "stddev"):
            reference = getattr(expected, name).expand(shape)
            torch.testing.assert_close(getattr(particles, name), reference, **EXACT)


def test_a_mixture_guide_of_one_component_is_the_diagonal_guide(x: Tensor, z: Tensor) -> None:
    mixture = MixtureGuide(encoder(), DIMS, components=1).double()
    diagonal = DiagonalGuide(mixture.encoder, DIMS).double()
    diagonal.load_state_dict(mixture.state_dict(), strict=False)
    torch.testing.assert_close(mixture(x).log_prob(z), diagonal(x).log_prob(z), **EXACT)


def test_the_components_of_a_mixture_guide_start_apart(x: Tensor) -> None:
    loc = MixtureGuide(encoder(), DIMS, components=4).double()(x).locs
    assert torch.pdist(loc.mean(0)).min() > 0.1


@pytest.mark.parametrize("unbatched", [False, True], ids=["batch", "sample_shape"])
@pytest.mark.parametrize("degree", [1, 2])
def test_gradients_through_draws_of_a_mixture_are_those_of_the_expectation(
    degree: int, unbatched: bool, z_score: Any
) -> None:
    weights = torch.tensor([1.0, -0.7]).double()

    def expectation(loc: Tensor, scale: Tensor, logits: Tensor) -> Tensor:
        """E (w · z)^degree."""
        each = loc @ weights
        if degree == 2:
            each = each.square() + scale.square() @ weights.square()
        return (logits.softmax(-1) * each).sum(-1)

    exact = [p.requires_grad_() for p in parameters()]
    expected = torch.autograd.grad(expectation(*exact), exact)
    groups, draws = 500, 100
    leaves = [p.detach().expand(groups, *p.shape).clone().requires_grad_() for p in exact]
    if unbatched:
        q = [DiagonalNormalMixture(*(leaf[i] for leaf in leaves)) for i in range(groups)]
        z = torch.stack([each.rsample((draws,)) for each in q])
    else:
        z = DiagonalNormalMixture(*leaves).expand((draws, groups)).rsample().transpose(0, 1)
    assert z.shape == (groups, draws, 2)
    (z @ weights).pow(degree).mean(1).sum().backward()
    for leaf, gradient in zip(leaves, expected, strict=True):
        assert leaf.grad is not None
        assert z_score(leaf.grad, gradient) < 5


def test_draws_of_a_mixture_have_the_shape_asked_for_with_and_without_a_batch() -> None:
    q = DiagonalNormalMixture(*parameters())
    assert q.rsample().shape == (2,)
    assert q.rsample((5, 6)).shape == (5, 6, 2)
    assert q.expand((4,)).rsample((5, 6)).shape == (5, 6, 4, 2)


def test_gradients_of_a_narrow_mixture_of_many_dimensions_do_not_overflow() -> None:
    # One component: z = loc + scale ε, so the gradients of its sum are 1 and ε.
    loc, scale = torch.randn(1, 100), torch.full((1, 100), 0.01)
    leaves = [loc.requires_grad_(), scale.requires_grad_(), torch.zeros(1, requires_grad=True)]
    z = DiagonalNormalMixture(*leaves).rsample()
    z.sum().backward()
    torch.testing.assert_close(loc.grad, torch.ones(1, 100))
    torch.testing.assert_close(scale.grad, (z - loc[0])[None] / 0.01, rtol=1e-3, atol=1e-3)


def test_a_mixture_guide_of_one_dimension_is_refused() -> None:
    with pytest.raises(SpecError, match=r"model\.latent_dim = 1"):
        MixtureGuide(encoder(), 1)


# Flows


@pytest.fixture(params=[IAFGuide, SplineGuide])
def flow_guide(request: pytest.FixtureRequest) -> Any:
    """A flow whose networks all have a say."""
    guide = request.param(encoder(), DIMS, layers=2, widths=(12, 12)).double()
    for parameter in guide.transform.parameters():
        nn.init.normal_(parameter, std=0.3)
    return guide


@pytest.mark.parametrize("family", [IAFGuide, SplineGuide])
@pytest.mark.parametrize("latent_dim", [1, 2, 3])
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
    bent = flow_guide.transform(features)(torch.randn(4, DIMS).double())
    expected = flow_guide.loc(features) + positive(flow_guide.scale(features)) * bent
    torch.testing.assert_close(z, expected, **EXACT)


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
    "low_rank": ({"rank": 3}, lambda guide: guide.factor.out_features == 9),
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
    assert fits(build_guide(spec, encoder(), DIMS))
    default = InferenceSpec.model_validate({"guide": {"kind": kind}}).guide
    assert not fits(build_guide(default, encoder(), DIMS))
