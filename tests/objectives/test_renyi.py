"""Importance-weighted and Rényi bounds: their values, and three estimators of their gradient."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from pyro.infer import SVI, RenyiELBO
from pyro.optim import Adam
from torch import Tensor

from pyrovae import VAE
from pyrovae.objectives import RenyiBound, SampledELBO
from pyrovae.specs.objectives import Gradient

ROUNDING = {"rtol": 1e-9, "atol": 1e-12}
AT_ONCE = {"max_plate_nesting": 1, "vectorize_particles": True}
GRADIENTS: list[Gradient] = ["plain", "stl", "dreg"]
gradients = pytest.mark.parametrize("gradient", GRADIENTS)
alphas = pytest.mark.parametrize("alpha", [-0.5, 0.0, 0.5, 2.0])
particle_counts = pytest.mark.parametrize("particles", [1, 2, 7])


def widen(vae: VAE, by: float = 0.5) -> None:
    with torch.no_grad():
        vae.posterior.family.scale.bias += by


def flat_gradient(vae: VAE) -> Tensor:
    return torch.cat([parameter.grad.flatten() for parameter in vae.parameters()])


def loss_and_gradient(
    vae: VAE, x: Tensor, objective: RenyiBound, beta: float = 1.0, seed: int | None = 1
) -> tuple[Tensor, Tensor]:
    if seed is not None:
        torch.manual_seed(seed)
    vae.zero_grad()
    loss = objective.loss_and_terms(vae, x, beta)[0]
    loss.backward()
    return loss.detach(), flat_gradient(vae)


def log_weights(vae: VAE, x: Tensor, particles: int, beta: float = 1.0) -> Tensor:
    """By hand, at the guide's next draws, ``(particles, data)``."""
    q, p = vae.encode(x), vae.prior(vae.posterior)
    z = q.rsample((particles,))
    return vae.decode(z).log_prob(x) + beta * (p.log_prob(z) - q.log_prob(z))


@alphas
@particle_counts
def test_the_loss_is_the_bound_of_each_datum_by_hand(
    make_vae: Any, alpha: float, particles: int
) -> None:
    vae = make_vae("vamp", "full_rank")
    x = vae.sample(4)
    for beta in (0.0, 0.5, 1.0, 4.0):
        torch.manual_seed(1)
        powers = (1 - alpha) * log_weights(vae, x, particles, beta)
        bounds = (powers.logsumexp(0) - math.log(particles)) / (1 - alpha)
        for gradient in GRADIENTS:
            objective = RenyiBound(particles, alpha, gradient, **AT_ONCE)
            loss, _ = loss_and_gradient(vae, x, objective, beta)
            torch.testing.assert_close(loss, -bounds.mean().detach(), **ROUNDING)


@alphas
@particle_counts
def test_the_plain_gradient_is_that_of_the_bound_and_pyros(
    make_vae: Any, alpha: float, particles: int
) -> None:
    vae = make_vae("mixture", "full_rank")
    x = vae.sample(4)
    loss, gradient = loss_and_gradient(vae, x, RenyiBound(particles, alpha, **AT_ONCE))
    torch.manual_seed(1)
    vae.zero_grad()
    theirs = RenyiELBO(alpha, particles, **AT_ONCE).loss_and_grads(vae.model, vae.guide, x)
    torch.testing.assert_close(loss.item() * len(x), theirs, **ROUNDING)
    torch.testing.assert_close(gradient * len(x), flat_gradient(vae), **ROUNDING)


@gradients
def test_particles_drawn_at_once_or_in_turn_estimate_the_same(
    make_vae: Any, gradient: Gradient
) -> None:
    vae = make_vae("normal", "full_rank")
    x = vae.sample(2)

    def draws(options: dict[str, Any]) -> Tensor:
        objective = RenyiBound(3, 0.0, gradient, **options)
        each = [loss_and_gradient(vae, x.repeat(15, 1), objective, seed=None) for _ in range(50)]
        return torch.stack([torch.cat([loss[None], grad]) for loss, grad in each])

    assert worst_difference(draws(AT_ONCE), draws({})) < 5


def test_in_turn_the_loss_is_that_of_the_weights_of_all_turns(make_vae: Any) -> None:
    vae = make_vae()
    x = vae.sample(4)
    for gradient in GRADIENTS:
        loss, _ = loss_and_gradient(vae, x, RenyiBound(3, 0.0, gradient))
        torch.manual_seed(1)
        weights = torch.cat([log_weights(vae, x, 1) for _ in range(3)])
        expected = -(weights.logsumexp(0) - math.log(3)).mean().detach()
        torch.testing.assert_close(loss, expected, **ROUNDING)


@gradients
def test_one_particle_is_the_evidence_lower_bound(make_vae: Any, gradient: Gradient) -> None:
    vae = make_vae("mixture")
    x = vae.sample(4)
    torch.manual_seed(1)
    elbo = SampledELBO().loss_and_terms(vae, x)[0].detach()
    loss, _ = loss_and_gradient(vae, x, RenyiBound(1, 0.0, gradient))
    torch.testing.assert_close(loss, elbo, **ROUNDING)


def test_the_order_one_is_refused() -> None:
    with pytest.raises(ValueError, match="alpha = 1 is the ELBO"):
        RenyiBound(5, alpha=1.0)


@alphas
@gradients
@pytest.mark.parametrize("guide", ["diagonal", "full_rank"])
def test_with_the_exact_guide_every_bound_is_the_evidence(
    make_linear_gaussian: Any, alpha: float, gradient: Gradient, guide: str
) -> None:
    oracle = make_linear_gaussian(guide)
    loss, _ = loss_and_gradient(oracle.vae, oracle.x, RenyiBound(5, alpha, gradient, **AT_ONCE))
    torch.testing.assert_close(loss, -oracle.evidence.mean(), rtol=0, atol=1e-10)


@pytest.mark.parametrize("gradient", ["stl", "dreg"])
def test_with_the_exact_guide_its_gradient_vanishes_in_every_draw(
    make_linear_gaussian: Any, gradient: Gradient
) -> None:
    # All weights are equal, wherever the draws are; the plain gradient has the score's noise.
    oracle = make_linear_gaussian("full_rank")

    def of_guide(kind: Gradient) -> Tensor:
        loss_and_gradient(oracle.vae, oracle.x, RenyiBound(5, 0.0, kind, **AT_ONCE))
        return torch.cat([p.grad.flatten() for p in oracle.vae.posterior.parameters()])

    assert of_guide(gradient).abs().max() < 1e-10
    assert of_guide("plain").abs().max() > 1e-3


def test_bounds_are_ordered_and_rise_to_the_evidence(make_linear_gaussian: Any) -> None:
    oracle = make_linear_gaussian("full_rank")
    widen(oracle.vae)
    x = oracle.x.repeat(400, 1)

    def bound(particles: int) -> tuple[float, float]:
        """Mean over data and its standard error over draws."""
        with torch.no_grad():
            losses = torch.stack(
                [RenyiBound(particles, **AT_ONCE).loss_and_terms(oracle.vae, x)[0]
                 for _ in range(20)]
            )  # fmt: skip
        return -losses.mean().item(), losses.std().item() / 20**0.5

    bounds = [bound(particles) for particles in (1, 5, 10, 20)]
    bounds.append((oracle.evidence.mean().item(), 0.0))
    for (lower, error), (higher, other) in itertools.pairwise(bounds):
        assert lower + 5 * math.hypot(error, other) < higher


def test_renyi_bounds_fall_with_their_order(make_linear_gaussian: Any) -> None:
    oracle = make_linear_gaussian("full_rank")
    widen(oracle.vae)
    orders = (-0.5, 0.0, 0.5, 2.0)
    losses = [
        loss_and_gradient(oracle.vae, oracle.x, RenyiBound(6, alpha, **AT_ONCE))[0]
        for alpha in orders
    ]  # at the same draws, where a power mean is monotonic in its order
    assert losses == sorted(losses)
    assert losses[0] < losses[-1]


def test_a_datum_with_a_likelihood_of_its_own_does_not_change_the_bound_of_another(
    make_linear_gaussian: Any,
) -> None:
    oracle = make_linear_gaussian("full_rank")
    widen(oracle.vae)
    usual, unusual = oracle.x[0], 40 + oracle.x[1]

    def bound(x: Tensor) -> Tensor:
        torch.manual_seed(1)
        weights = log_weights(oracle.vae, x, 8)
        return (weights.logsumexp(0) - math.log(8)).detach()

    both = torch.stack([usual, unusual])
    loss, _ = loss_and_gradient(oracle.vae, both, RenyiBound(8, **AT_ONCE))
    each = bound(both)
    assert each[0] - each[1] > 1000  # one weight for the batch would be that of the usual alone
    torch.testing.assert_close(loss, -each.mean(), **ROUNDING)


@pytest.fixture
def nearly_exact(make_linear_gaussian: Any) -> Any:
    """The linear-Gaussian model with a guide a little wider than the posterior."""
    oracle = make_linear_gaussian("full_rank", data=2)
    widen(oracle.vae, by=0.2)
    with torch.no_grad():
        oracle.vae.posterior.family.loc.bias += 0.05
    return oracle


def gradient_draws(vae: VAE, x: Tensor, objective: RenyiBound, beta: float, draws: int) -> Tensor:
    """Gradients over ``draws`` repetitions, ``(draws, parameters)``, each of 300 copies of x."""
    batch = x.repeat(300, 1)
    return torch.stack(
        [loss_and_gradient(vae, batch, objective, beta, seed=None)[1] for _ in range(draws)]
    )


def worst_difference(first: Tensor, second: Tensor) -> float:
    """In standard errors, over the parameters whose gradient is random at all."""
    error = (first.var(0) / len(first) + second.var(0) / len(second)).sqrt()
    random = error > 1e-12
    return ((first.mean(0) - second.mean(0)).abs() / error)[random].max().item()


@pytest.mark.parametrize(
    ("alpha", "beta", "particles"),
    [(0.0, 1.0, 1), (0.0, 1.0, 5), (0.0, 0.5, 5), (0.0, 2.0, 3), (0.5, 1.0, 5), (2.0, 1.0, 3)],
)
def test_the_doubly_reparameterised_gradient_is_unbiased(
    nearly_exact: Any, alpha: float, beta: float, particles: int
) -> None:
    oracle = nearly_exact
    plain, dreg = (
        gradient_draws(
            oracle.vae, oracle.x, RenyiBound(particles, alpha, kind, **AT_ONCE), beta, 35
        )
        for kind in ("plain", "dreg")
    )
    assert worst_difference(plain, dreg) < 5


def test_the_doubly_reparameterised_gradient_leaves_a_vampprior_its_own(make_vae: Any) -> None:
    vae = make_vae("vamp", "full_rank")  # the guide's parameters are the prior's as well
    x = vae.sample(2)
    plain, dreg = (
        gradient_draws(vae, x, RenyiBound(4, 0.0, kind, **AT_ONCE), 1.0, 35)
        for kind in ("plain", "dreg")
    )
    assert worst_difference(plain, dreg) < 5


@pytest.mark.parametrize("guide", ["iaf", "spline", "mixture", "laplace", "low_rank"])
def test_the_doubly_reparameterised_gradient_is_unbiased_for_every_guide(
    make_vae: Any, guide: str
) -> None:
    vae = make_vae(guide=guide)
    x = vae.sample(2)
    plain, dreg = (
        gradient_draws(vae, x, RenyiBound(4, 0.0, kind, **AT_ONCE), 1.0, 25)
        for kind in ("plain", "dreg")
    )
    assert worst_difference(plain, dreg) < 5


def test_sticking_the_landing_is_unbiased_for_one_particle_and_biased_for_more(
    nearly_exact: Any,
) -> None:
    oracle = nearly_exact

    def compare(particles: int) -> float:
        plain, stl = (
            gradient_draws(
                oracle.vae, oracle.x, RenyiBound(particles, 0.0, kind, **AT_ONCE), 1.0, 35
            )
            for kind in ("plain", "stl")
        )
        return worst_difference(plain, stl)

    assert compare(1) < 5
    assert compare(5) > 5  # Tucker et al. (2019), section 3


@pytest.mark.parametrize(("kind", "particles"), [("stl", 1), ("dreg", 1), ("dreg", 20)])
def test_near_the_exact_guide_the_other_gradients_have_less_variance(
    nearly_exact: Any, kind: Gradient, particles: int
) -> None:
    oracle = nearly_exact

    def variance(gradient: Gradient) -> float:
        objective = RenyiBound(particles, 0.0, gradient, **AT_ONCE)
        draws = gradient_draws(oracle.vae, oracle.x, objective, 1.0, 25)
        count = sum(p.numel() for p in oracle.vae.posterior.parameters())
        return draws[:, -count:].var(0).sum().item()  # the guide's parameters come last

    assert list(dict(oracle.vae.named_children()))[-1] == "posterior"
    assert variance(kind) < 0.5 * variance("plain")


@gradients
def test_the_gradient_for_the_model_is_the_plain_one(make_vae: Any, gradient: Gradient) -> None:
    vae = make_vae("mixture", "full_rank")
    x = vae.sample(4)

    def of_model(kind: Gradient) -> Tensor:
        loss_and_gradient(vae, x, RenyiBound(5, 0.0, kind, **AT_ONCE))
        parts = (vae.prior, vae.decoder)
        return torch.cat([p.grad.flatten() for part in parts for p in part.parameters()])

    torch.testing.assert_close(of_model(gradient), of_model("plain"), **ROUNDING)


@gradients
def test_data_that_stand_for_more_are_counted_so_and_not_raised_to_a_power(
    make_vae: Any, gradient: Gradient
) -> None:
    vae = make_vae()
    x = vae.sample(4)
    objective = RenyiBound(3, 0.0, gradient, **AT_ONCE)
    torch.manual_seed(1)
    once = objective.differentiable_loss(vae.model, vae.guide, x)
    torch.manual_seed(1)
    tenfold = objective.differentiable_loss(
        lambda x: vae.model(x, 40), lambda x: vae.guide(x, 40), x
    )
    torch.testing.assert_close(tenfold, 10 * once, **ROUNDING)


@gradients
def test_a_bound_is_a_loss_for_svi(make_vae: Any, gradient: Gradient) -> None:
    vae = make_vae()
    x = vae.sample(4)
    objective = RenyiBound(3, 0.5, gradient, **AT_ONCE)
    expected, _ = loss_and_gradient(vae, x, objective)
    torch.manual_seed(1)
    step = SVI(vae.model, vae.guide, Adam({"lr": 1e-3}), loss=objective).step(x)
    assert step == pytest.approx(expected.item() * len(x), rel=1e-9)
