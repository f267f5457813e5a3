"""The densities that families are named after, their gradients, and where they agree."""

from __future__ import annotations

from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, Trace_ELBO
from torch import Tensor, nn
from torch.distributions import MultivariateNormal, kl_divergence

from pyrovae.errors import SpecError
from pyrovae.objectives import build_objective
from pyrovae.parts.distributions.kl import exact_kl
from pyrovae.parts.distributions.normal_mixture import NormalMixture
from pyrovae.parts.distributions.positive import positive, raw_scale
from pyrovae.parts.families import (
    DeltaFamily,
    DiagonalNormal,
    FullRankNormal,
    InverseAutoregressiveFlow,
    LaplaceFamily,
    LowRankNormal,
    MixtureFamily,
    SplineFlow,
    VonMisesFisherFamily,
)
from pyrovae.parts.guides import Guide
from pyrovae.parts.networks import MLPEncoder
from pyrovae.specs.objectives import ELBOSpec

EXACT = {"rtol": 1e-10, "atol": 1e-10}  # float64
DIMS, FEATURES = 3, 5


@pytest.fixture
def h() -> Tensor:
    """Features."""
    return torch.randn(4, FEATURES).double()


@pytest.fixture
def z() -> Tensor:
    return torch.randn(4, DIMS).double()


def normal(*batch: int) -> Any:
    """An independent normal that is not the standard one."""
    loc, scale = torch.randn(*batch, DIMS).double(), torch.rand(*batch, DIMS).double() + 0.3
    return dist.Normal(loc, scale).to_event(1)


# Delta


def test_a_point_is_its_own_mean_and_every_draw(h: Tensor) -> None:
    family = DeltaFamily(FEATURES, DIMS).double()
    q, loc = family(h), family.loc(h)
    assert torch.equal(q.mean, loc)
    assert torch.equal(q.rsample((6,)), loc.expand(6, 4, DIMS))
    assert (q.log_prob(loc) == 0).all()
    assert (q.log_prob(loc + 1e-9) == -torch.inf).all()


def test_a_point_at_beta_zero_is_the_plain_autoencoder(make_vae: Any) -> None:
    vae = make_vae(guide="delta")
    x = vae.sample(6)
    loss, _ = build_objective(ELBOSpec(), vae, x).loss_and_terms(vae, x, 0.0)
    code = vae.posterior.family.loc(vae.posterior.encoder(x))
    torch.testing.assert_close(loss, -vae.decode(code).log_prob(x).mean(), **EXACT)


# Laplace


def test_the_laplace_family_has_the_density_of_its_name(h: Tensor, z: Tensor) -> None:
    family = LaplaceFamily(FEATURES, DIMS).double()
    scale = positive(family.scale(h))
    expected = -(z - family.loc(h)).abs() / scale - (2 * scale).log()
    torch.testing.assert_close(family(h).log_prob(z), expected.sum(-1), **EXACT)


@torch.no_grad()
@pytest.mark.parametrize("prior", [normal(4), dist.Laplace(*torch.rand(2, 4, DIMS)).to_event(1)])
def test_the_closed_form_kl_of_the_laplace_family_is_the_mean_log_ratio(
    h: Tensor, prior: Any, z_score: Any
) -> None:
    q = LaplaceFamily(FEATURES, DIMS).double()(h)
    kl = exact_kl(q, prior)
    draws = q.sample((20_000,))
    assert z_score(q.log_prob(draws) - prior.log_prob(draws), kl) < 5


# Low rank


def generic_low_rank(rank: int) -> LowRankNormal:
    family = LowRankNormal(FEATURES, DIMS, rank).double()
    nn.init.normal_(family.factor.weight)
    return family


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_the_covariance_of_the_low_rank_normal_is_that_of_its_parts(h: Tensor, rank: int) -> None:
    family = generic_low_rank(rank)
    scale = positive(family.scale(h))
    columns = scale[..., None] * family.factor(h).reshape(4, DIMS, rank)
    expected = scale.square().diag_embed() + columns @ columns.mT
    torch.testing.assert_close(family(h).covariance_matrix, expected, **EXACT)
    assert torch.linalg.matrix_rank(columns @ columns.mT).eq(rank).all()


@pytest.mark.parametrize("rank", [1, 3])
@pytest.mark.parametrize("batch", [(), (4,)])
def test_the_kl_of_the_low_rank_normal_is_that_of_its_covariance(
    h: Tensor, rank: int, batch: tuple[int, ...]
) -> None:
    q, p = generic_low_rank(rank)(h), normal(*batch)
    kl = exact_kl(q, p)
    assert kl is not None
    same_q = MultivariateNormal(q.loc, q.covariance_matrix)
    expected = kl_divergence(same_q, MultivariateNormal(p.mean, p.variance.diag_embed()))
    torch.testing.assert_close(kl, expected, **EXACT)
    particles = q.expand((2, 4))
    torch.testing.assert_close(exact_kl(particles, p), expected.expand(2, 4), **EXACT)


def test_the_low_rank_normal_has_no_closed_form_but_against_normals_of_a_vector(h: Tensor) -> None:
    q = generic_low_rank(1)(h)
    assert exact_kl(q, dist.Laplace(torch.zeros(4, DIMS), 1.0).to_event(1)) is None
    assert exact_kl(q, dist.Normal(torch.zeros(2, 4, DIMS), 1.0).to_event(2)) is None


@torch.no_grad()
def test_a_low_rank_normal_of_full_rank_holds_every_full_rank_normal(h: Tensor, z: Tensor) -> None:
    full = FullRankNormal(FEATURES, DIMS).double()
    nn.init.normal_(full.below.bias)
    nn.init.zeros_(full.scale.weight)
    q = full(h)
    covariance = q.covariance_matrix[0]
    smallest = torch.linalg.eigvalsh(covariance)[0].item()
    family = LowRankNormal(FEATURES, DIMS, rank=DIMS).double()
    family.loc.load_state_dict(full.loc.state_dict())
    for head in (family.scale, family.factor):
        nn.init.zeros_(head.weight)
    nn.init.constant_(family.scale.bias, raw_scale(0.7 * smallest**0.5))
    noise = positive(family.scale.bias)
    factor = torch.linalg.cholesky(covariance - noise.square().diag())
    family.factor.bias.copy_((factor / noise[:, None]).flatten())
    torch.testing.assert_close(family(h).log_prob(z), q.log_prob(z), **EXACT)


def test_the_low_rank_normal_does_not_start_at_a_saddle(h: Tensor) -> None:
    # Through draws, even a saddle has a gradient; its mean is zero, which the exact KL shows.
    family = LowRankNormal(FEATURES, DIMS, rank=2).double()
    kl = exact_kl(family(h), normal(4))
    assert kl is not None
    kl.sum().backward()
    assert (family.factor.weight.grad.abs().amax(1) > 1e-4).all()


def test_a_rank_above_the_length_of_the_code_is_refused() -> None:
    with pytest.raises(SpecError, match=r"rank = 4.*'full_rank'"):
        LowRankNormal(FEATURES, DIMS, rank=4)


# Mixture


def parameters(components: int = 3, dims: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """Locations, scales and logits of a mixture whose components overlap."""
    loc = torch.randn(components, dims).double()
    scale = 0.5 + torch.rand(components, dims).double()
    return loc, scale, torch.randn(components).double()


def mixture(loc: Tensor, scale: Tensor, logits: Tensor) -> NormalMixture:
    return NormalMixture(dist.Categorical(logits=logits), dist.Normal(loc, scale).to_event(1))


def test_the_mixture_family_is_the_mixture_of_its_components(h: Tensor, z: Tensor) -> None:
    family = MixtureFamily(FEATURES, DIMS, components=5).double()
    loc = family.loc(h).reshape(4, 5, DIMS)
    scale = positive(family.scale(h)).reshape(4, 5, DIMS)
    weights = family.logits(h).softmax(-1)
    densities = dist.Normal(loc, scale).log_prob(z[:, None]).sum(-1).exp()
    torch.testing.assert_close(family(h).log_prob(z).exp(), (weights * densities).sum(-1), **EXACT)
    torch.testing.assert_close(family(h).mean, (weights[..., None] * loc).sum(-2), **EXACT)


def test_a_mixture_of_one_component_is_the_diagonal_normal(h: Tensor, z: Tensor) -> None:
    family = MixtureFamily(FEATURES, DIMS, components=1).double()
    diagonal = DiagonalNormal(FEATURES, DIMS).double()
    diagonal.load_state_dict(family.state_dict(), strict=False)
    torch.testing.assert_close(family(h).log_prob(z), diagonal(h).log_prob(z), **EXACT)


def test_the_components_of_a_mixture_start_apart(h: Tensor) -> None:
    q = MixtureFamily(FEATURES, DIMS, components=4).double()(h)
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


@pytest.fixture(params=[InverseAutoregressiveFlow, SplineFlow])
def flow_family(request: pytest.FixtureRequest) -> Any:
    """A flow whose networks all have a say."""
    family = request.param(FEATURES, EVEN, layers=2, widths=(12, 12)).double()
    for parameter in family.transform.parameters():
        nn.init.normal_(parameter, std=0.3)
    return family


@pytest.mark.parametrize(
    ("kind", "dims"),
    [
        (InverseAutoregressiveFlow, 1),
        (InverseAutoregressiveFlow, 3),
        (SplineFlow, 2),
        (SplineFlow, 4),
    ],
)
def test_a_flow_family_starts_as_the_diagonal_normal(kind: Any, dims: int, h: Tensor) -> None:
    family = kind(FEATURES, dims).double()
    diagonal = DiagonalNormal(FEATURES, dims).double()
    diagonal.load_state_dict(family.state_dict(), strict=False)
    z = torch.randn(4, dims).double()
    torch.testing.assert_close(family(h).log_prob(z), diagonal(h).log_prob(z), **EXACT)


@pytest.mark.parametrize("kind", [InverseAutoregressiveFlow, SplineFlow])
def test_every_parameter_of_a_flow_family_moves_from_the_second_step_on(
    make_vae: Any, kind: Any
) -> None:
    vae = make_vae()
    vae.posterior = Guide(vae.posterior.encoder, kind(6, 2)).double()
    x = vae.sample(4)
    optimiser = torch.optim.SGD(vae.parameters(), lr=0.1)
    for _ in range(2):
        optimiser.zero_grad()
        build_objective(ELBOSpec(), vae, x).loss_and_terms(vae, x)[0].backward()
        optimiser.step()
    assert all(p.grad.any() for p in vae.posterior.parameters())


def test_a_flow_family_puts_the_flow_of_noise_where_the_features_say(
    flow_family: Any, h: Tensor
) -> None:
    torch.manual_seed(5)
    z = flow_family(h).rsample()
    torch.manual_seed(5)
    noise = torch.normal(torch.zeros(4, EVEN).double(), 1.0)
    bent = flow_family.transform(h)(noise)
    expected = flow_family.loc(h) + positive(flow_family.scale(h)) * bent
    torch.testing.assert_close(z, expected, **EXACT)


@pytest.mark.parametrize("kind", [InverseAutoregressiveFlow, SplineFlow])
def test_a_correlated_flow_starts_as_the_full_rank_normal(kind: Any, h: Tensor) -> None:
    full = FullRankNormal(FEATURES, EVEN).double()
    nn.init.normal_(full.below.weight)
    family = kind(FEATURES, EVEN, correlated=True).double()
    left = family.load_state_dict(full.state_dict(), strict=False)
    assert left.unexpected_keys == []
    assert all(name.startswith("transform.") for name in left.missing_keys)
    z = full(h).sample((3,))
    torch.testing.assert_close(family(h).log_prob(z), full(h).log_prob(z), **EXACT)


@torch.no_grad()
@pytest.mark.parametrize("kind", [InverseAutoregressiveFlow, SplineFlow])
def test_a_draw_of_a_correlated_flow_has_the_density_that_it_comes_with(
    kind: Any, h: Tensor
) -> None:
    family = kind(FEATURES, EVEN, correlated=True).double()
    for parameter in family.parameters():
        nn.init.normal_(parameter, std=0.3)
    q = family(h)
    z = q.rsample((5,))
    # A spline is inverted by a quadratic formula.
    torch.testing.assert_close(q.log_prob(z), q.log_prob(z.clone()), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dims", [1, 3, 9])
def test_a_coupling_flow_of_an_odd_code_is_refused(dims: int) -> None:
    with pytest.raises(SpecError, match=rf"latent_dim = {dims}.*even length.*'iaf'"):
        SplineFlow(FEATURES, dims)


def test_particles_of_a_flow_family_have_the_density_of_their_datum(
    flow_family: Any, h: Tensor
) -> None:
    q = flow_family(h)
    particles = q.expand((6, 4))
    z = particles.rsample()
    alone = torch.stack([flow_family(h[i]).log_prob(z[:, i]) for i in range(4)], dim=1)
    torch.testing.assert_close(particles.log_prob(z), alone, rtol=1e-7, atol=1e-7)


def test_each_layer_of_the_iaf_is_affine_in_a_dimension_given_the_noise_before_it() -> None:
    family = InverseAutoregressiveFlow(FEATURES, DIMS, layers=2, widths=(12, 12)).double()
    for parameter in family.transform.parameters():
        nn.init.normal_(parameter, std=0.3)
    h, noise = torch.randn(FEATURES).double(), torch.randn(DIMS).double()
    forwards, backwards = (layer(h) for layer in family.transform.transforms)
    first = torch.autograd.functional.jacobian(forwards, noise)
    second = torch.autograd.functional.jacobian(backwards, noise)
    assert torch.equal(first.triu(1), torch.zeros(DIMS, DIMS))
    assert torch.equal(second.tril(-1), torch.zeros(DIMS, DIMS))
    assert first.tril(-1).any()
    assert second.triu(1).any()
    step = torch.eye(DIMS)[2].double()  # the last dimension, given those before it
    line = torch.stack([forwards(noise + length * step) for length in (0, 1, 2)])
    torch.testing.assert_close(line[2] - line[1], line[1] - line[0], **EXACT)


# Anywhere in a program

SMALL_FLOW = {"layers": 2, "widths": (8,)}
KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "delta": (DeltaFamily, {}),
    "diagonal": (DiagonalNormal, {}),
    "laplace": (LaplaceFamily, {}),
    "low_rank": (LowRankNormal, {"rank": 1}),
    "full_rank": (FullRankNormal, {}),
    "mixture": (MixtureFamily, {"components": 3}),
    "iaf": (InverseAutoregressiveFlow, SMALL_FLOW),
    "spline": (SplineFlow, SMALL_FLOW),
    "von_mises_fisher": (VonMisesFisherFamily, {}),
}


def make_family(kind: str, features: int = FEATURES) -> Any:
    """A family of two dimensions whose parameters all have a say."""
    family, options = KINDS[kind]
    member = family(features, 2, **options).double()
    with torch.no_grad():
        for parameter in member.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return member


every_family = pytest.mark.parametrize("kind", KINDS)
every_density = pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "delta"])


@every_family
@pytest.mark.parametrize("particles", [None, 6])
def test_every_family_is_a_conditional_prior(kind: str, particles: int | None) -> None:
    family = make_family(kind)
    network = nn.Sequential(nn.Linear(3, FEATURES), nn.Tanh()).double()
    standard = dist.Normal(torch.zeros(3).double(), 1.0).to_event(1)

    def model() -> None:
        with pyro.plate("data", 4, dim=-1):
            z2 = pyro.sample("z2", standard)
            pyro.sample("z1", family(network(z2)))

    batch = (4,)
    if particles is not None:
        model, batch = pyro.plate("particles", particles, dim=-2)(model), (particles, 4)
    trace = poutine.trace(model).get_trace()
    trace.compute_log_prob()
    z1, z2 = trace.nodes["z1"], trace.nodes["z2"]
    assert z1["value"].shape == (*batch, 2)
    assert z1["log_prob"].shape == batch
    assert z1["log_prob"].isfinite().all()
    again = family(network(z2["value"]))
    assert again.batch_shape == batch
    assert again.event_shape == (2,)
    # Another tensor of the same values: a flow keeps the density of the draw itself.
    expected = again.log_prob(z1["value"].clone())
    torch.testing.assert_close(z1["log_prob"], expected, rtol=1e-7, atol=1e-7)
    direction = torch.randn(*batch, 2).double()
    ((z1["value"] * direction).sum() + z1["log_prob"].sum()).backward()
    for parameter in [*family.parameters(), *network.parameters()]:
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()
        assert parameter.grad.any()


@every_density
@pytest.mark.parametrize("batch", [(4,), (6, 4), (6, 1)])
def test_a_batch_of_features_is_one_distribution_for_each(
    kind: str, batch: tuple[int, ...]
) -> None:
    family = make_family(kind)
    h = torch.randn(*batch, FEATURES).double()
    z = family(h).sample()
    rows = zip(h.flatten(0, -2), z.flatten(0, -2), strict=True)
    alone = torch.stack([family(row).log_prob(value) for row, value in rows]).reshape(batch)
    torch.testing.assert_close(family(h).log_prob(z), alone, rtol=1e-7, atol=1e-7)


@every_density
def test_a_family_of_constant_features_is_the_same_distribution_for_all(kind: str) -> None:
    family, h = make_family(kind), torch.randn(FEATURES).double()
    z = family(h).sample()
    densities = family(h.expand(6, 4, FEATURES)).log_prob(z)
    expected = family(h).log_prob(z).expand(6, 4)
    torch.testing.assert_close(densities, expected, rtol=1e-7, atol=1e-7)


@every_density
def test_a_hierarchy_of_any_family_takes_a_step_of_svi(kind: str) -> None:
    x = torch.randn(4, 5).double()
    parts = nn.ModuleDict(
        {
            "q1": Guide(MLPEncoder((5,), widths=(6,)), make_family(kind, 6)),  # q(z1 | x)
            "q2": DiagonalNormal(2, 3),  # q(z2 | z1)
            "p1": make_family(kind, 3),  # p(z1 | z2)
            "decoder": nn.Linear(2, 5),
        }
    ).double()

    def model() -> None:
        pyro.module("parts", parts)
        with pyro.plate("data", 4, dim=-1):
            z2 = pyro.sample("z2", dist.Normal(torch.zeros(3).double(), 1.0).to_event(1))
            loc = parts["decoder"](pyro.sample("z1", parts["p1"](z2)))
            pyro.sample("x", dist.Normal(loc, 1.0).to_event(1), obs=x)

    def guide() -> None:
        pyro.module("parts", parts)
        with pyro.plate("data", 4, dim=-1):
            z1 = pyro.sample("z1", parts["q1"](x))
            pyro.sample("z2", parts["q2"](z1))

    loss = Trace_ELBO(num_particles=3, vectorize_particles=True, max_plate_nesting=1)
    before = [parameter.clone() for parameter in parts.parameters()]
    with pyro.get_param_store().scope():
        svi = SVI(model, guide, pyro.optim.Adam({"lr": 0.1}), loss)
        assert torch.tensor(svi.step()).isfinite()
    for old, new in zip(before, parts.parameters(), strict=True):
        assert new.isfinite().all()
        assert not torch.equal(old, new)
