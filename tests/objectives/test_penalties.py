"""Objectives that charge something else than the KL: against formulas, limits, and loops."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from pyro.infer import SVI
from pyro.optim import Adam
from torch import Tensor, nn

from pyrovae import VAE, InferenceSpec, Training, build
from pyrovae.objectives import (
    AnalyticELBO,
    CapacityELBO,
    FreeBitsELBO,
    MMDObjective,
    Objective,
    SampledELBO,
    TotalCorrelationELBO,
)
from pyrovae.objectives.mmd import WIDTHS, mmd
from pyrovae.objectives.schedules import Budget
from pyrovae.parts.distributions.kl import marginals
from pyrovae.training.loop import Callback

ROUNDING = {"rtol": 1e-9, "atol": 1e-12}
AT_ONCE = {"num_particles": 2, "max_plate_nesting": 1, "vectorize_particles": True}
betas = pytest.mark.parametrize("beta", [0.0, 0.5, 1.0, 4.0])
ALL: list[Callable[..., Objective]] = [
    FreeBitsELBO,
    CapacityELBO,
    TotalCorrelationELBO,
    MMDObjective,
]
objectives = pytest.mark.parametrize("make", ALL)


def loss_and_gradient(
    vae: VAE, x: Tensor, objective: Objective, beta: float = 1.0
) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    vae.zero_grad()
    loss = objective.loss_and_terms(vae, x, beta)[0]
    loss.backward()
    zeros = [torch.zeros_like(p) if p.grad is None else p.grad for p in vae.parameters()]
    return loss.detach(), torch.cat([gradient.flatten() for gradient in zeros])


def kl_and_reconstruction(vae: VAE, x: Tensor) -> tuple[Tensor, Tensor]:
    """KL of each dimension from N(0, I), ``(data, dims)``, and log p(x | z) at the next draw."""
    torch.manual_seed(1)
    q = vae.encode(x)
    kl = 0.5 * (q.mean.square() + q.variance - 1 - q.variance.log())
    return kl.detach(), vae.decode(q.rsample()).log_prob(x).detach()


@pytest.fixture
def vae(make_vae: Any) -> VAE:
    """With a KL of its own in each dimension."""
    vae = make_vae()
    with torch.no_grad():
        vae.posterior.family.loc.bias.copy_(torch.tensor([0.1, 2.0]))
        vae.posterior.family.loc.weight.normal_()
    return vae


@betas
@pytest.mark.parametrize("nats", [0.01, 1.0, 100.0])
def test_free_bits_charge_each_dimension_its_mean_kl_or_the_floor(
    vae: VAE, beta: float, nats: float
) -> None:
    x = vae.sample(6)
    loss, _ = loss_and_gradient(vae, x, FreeBitsELBO(nats=nats), beta)
    kl, reconstruction = kl_and_reconstruction(vae, x)
    charged = sum(max(nats, dim.mean().item()) for dim in kl.T)
    torch.testing.assert_close(loss, beta * charged - reconstruction.mean(), **ROUNDING)


def test_free_bits_of_a_site_charge_its_mean_kl_or_the_floor(vae: VAE) -> None:
    x = vae.sample(6)
    kl, reconstruction = kl_and_reconstruction(vae, x)
    total = kl.sum(-1).mean()
    for nats in (0.5 * total, 2 * total):
        loss, _ = loss_and_gradient(vae, x, FreeBitsELBO(nats=nats.item(), groups="site"))
        expected = max(nats, total) - reconstruction.mean()
        torch.testing.assert_close(loss, expected, **ROUNDING)


def test_without_free_bits_it_is_the_elbo(vae: VAE) -> None:
    x = vae.sample(6)
    elbo = loss_and_gradient(vae, x, AnalyticELBO())
    for groups in ("dimensions", "site"):
        free = loss_and_gradient(vae, x, FreeBitsELBO(nats=1e-9, groups=groups))
        torch.testing.assert_close(free, elbo, **ROUNDING)


def test_below_the_floor_only_the_reconstruction_has_a_gradient(vae: VAE) -> None:
    x = vae.sample(6)
    free = loss_and_gradient(vae, x, FreeBitsELBO(nats=1e6))[1]
    torch.testing.assert_close(free, loss_and_gradient(vae, x, AnalyticELBO(), 0.0)[1], **ROUNDING)


def test_free_bits_sample_a_kl_without_closed_form(make_vae: Any) -> None:
    vae = make_vae("student_t")
    x = vae.sample(6)
    free = loss_and_gradient(vae, x, FreeBitsELBO(nats=1e-9, groups="site"))
    sampled = loss_and_gradient(vae, x, SampledELBO())
    assert sampled[0] != loss_and_gradient(make_vae(), x, AnalyticELBO())[0]
    torch.testing.assert_close(free, sampled, **ROUNDING)


@betas
@pytest.mark.parametrize("capacity", [0.0, 1.0, 50.0])
def test_capacity_charges_the_distance_of_the_mean_kl(
    vae: VAE, beta: float, capacity: float
) -> None:
    x = vae.sample(6)
    loss, _ = loss_and_gradient(vae, x, CapacityELBO(capacity=capacity), beta)
    kl, reconstruction = kl_and_reconstruction(vae, x)
    distance = (kl.sum(-1).mean() - capacity).abs()
    torch.testing.assert_close(loss, beta * distance - reconstruction.mean(), **ROUNDING)


def test_some_data_may_have_more_than_the_capacity_if_others_have_less(vae: VAE) -> None:
    x = vae.sample(6)
    kl, reconstruction = kl_and_reconstruction(vae, x)
    between = kl.sum(-1).mean().item()
    assert kl.sum(-1).min() < between < kl.sum(-1).max()
    loss, _ = loss_and_gradient(vae, x, CapacityELBO(capacity=between))
    torch.testing.assert_close(loss, -reconstruction.mean(), **ROUNDING)


@betas
def test_at_capacity_zero_it_is_the_elbo(vae: VAE, beta: float) -> None:
    x = vae.sample(6)
    elbo = loss_and_gradient(vae, x, AnalyticELBO(), beta)
    torch.testing.assert_close(
        loss_and_gradient(vae, x, CapacityELBO(capacity=0.0), beta), elbo, **ROUNDING
    )


def test_a_kl_below_the_capacity_is_pulled_up(vae: VAE) -> None:
    x = vae.sample(6)

    def pull(capacity: float) -> Tensor:
        """Gradient of the penalty alone."""
        with_penalty = loss_and_gradient(vae, x, CapacityELBO(capacity=capacity))[1]
        return with_penalty - loss_and_gradient(vae, x, AnalyticELBO(), 0.0)[1]

    assert pull(0.0).abs().max() > 0.1
    torch.testing.assert_close(pull(0.0), -pull(1000.0), **ROUNDING)


def test_the_capacity_rises_with_the_steps_and_then_stays() -> None:
    objective = CapacityELBO(capacity=20.0, warmup_epochs=2.5)
    assert objective.setting == 20.0  # under SVI, which knows no steps
    budget = Budget(epochs=10, steps_per_epoch=4)
    seen = [objective.setting_at(step, budget) for step in (0, 1, 5, 10, 39)]
    assert seen == [0.0, 2.0, 10.0, 20.0, 20.0]


def test_training_leads_the_capacity(few_digits: Any) -> None:
    spec = InferenceSpec(
        epochs=4, batch_size=16, objective={"kind": "capacity", "warmup_epochs": 2}
    )
    training = Training(build("vae", spec, few_digits), few_digits, spec)
    seen = []

    class Watch(Callback):
        def on_step(self, training: Training) -> None:
            seen.append(float(training.objective.setting))

    training.run([Watch()])
    steps = training.budget.steps_per_epoch
    expected = [25.0 * min(1.0, step / (2 * steps)) for step in range(4 * steps)]
    assert seen == pytest.approx(expected)


@pytest.mark.parametrize("guide", ["diagonal", "laplace", "full_rank", "low_rank", "mixture"])
@torch.no_grad()
def test_a_marginal_is_the_density_with_the_other_dimension_integrated_out(
    make_vae: Any, guide: str
) -> None:
    q = make_vae(guide=guide).encode(torch.ones(5).double())
    grid = torch.linspace(-30, 30, 60_001).double()
    for own in (0, 1):
        codes = torch.full((len(grid), 2), 0.3).double()
        codes[:, 1 - own] = grid
        integral = torch.trapezoid(q.log_prob(codes).exp(), grid)
        density = marginals(q).log_prob(torch.full((2,), 0.3).double())[own].exp()
        # The step of 1e-3 is to be seen at a Laplace's peak only.
        torch.testing.assert_close(density, integral, rtol=1e-5, atol=0)


def decomposition(vae: VAE, x: Tensor, data_size: int = 1) -> Any:
    torch.manual_seed(1)
    return TotalCorrelationELBO(data_size=data_size).decompose(vae.traces(x))


@pytest.mark.parametrize("guide", ["diagonal", "laplace", "full_rank", "low_rank", "mixture"])
@pytest.mark.parametrize("prior", ["normal", "vamp"])
@betas
def test_the_three_parts_are_the_sampled_kl(
    make_vae: Any, guide: str, prior: str, beta: float
) -> None:
    vae = make_vae(prior, guide)
    x = vae.sample(5)
    weights = {"mutual_information": beta, "dimension_wise": beta, "data_size": 70}
    ours = loss_and_gradient(vae, x, TotalCorrelationELBO(**weights), beta)
    torch.testing.assert_close(ours, loss_and_gradient(vae, x, SampledELBO(), beta), **ROUNDING)


def test_each_part_is_what_loops_over_data_and_dimensions_say(vae: VAE) -> None:
    x, data_size = vae.sample(5), 70
    parts = decomposition(vae, x, data_size)
    torch.manual_seed(1)
    q = vae.encode(x)
    z = q.rsample()
    for i in range(len(x)):
        joint = torch.stack([q.log_prob(z[i])[j] for j in range(len(x))])
        log_q_z = joint.logsumexp(0) - math.log(data_size * len(x))
        product = sum(
            q.base_dist.log_prob(z[i])[:, d].logsumexp(0) - math.log(data_size * len(x))
            for d in range(z.shape[1])
        )
        prior = vae.prior(vae.posterior).log_prob(z[i])
        expected = (joint[i] - log_q_z, log_q_z - product, product - prior)
        torch.testing.assert_close(tuple(part[i] for part in parts), expected, **ROUNDING)


@pytest.mark.parametrize("prior", ["normal", "mixture"])
def test_each_weight_weighs_its_part(make_vae: Any, prior: str) -> None:
    vae = make_vae(prior)
    x = vae.sample(5)
    objective = TotalCorrelationELBO(mutual_information=2.0, dimension_wise=0.5, data_size=9)
    loss, _ = loss_and_gradient(vae, x, objective, beta=6.0)
    parts = decomposition(vae, x, data_size=9)
    _, reconstruction = kl_and_reconstruction(vae, x)
    penalty = 2 * parts.mutual_information + 6 * parts.total_correlation
    expected = (penalty + 0.5 * parts.dimension_wise - reconstruction).mean().detach()
    torch.testing.assert_close(loss, expected, **ROUNDING)


def test_the_number_of_data_moves_the_loss_and_not_its_gradient(vae: VAE) -> None:
    x = vae.sample(5)
    few, many = (
        loss_and_gradient(vae, x, TotalCorrelationELBO(data_size=n), beta=6.0) for n in (10, 1000)
    )
    assert (few[0] - many[0]).abs() > 1
    torch.testing.assert_close(few[1], many[1], **ROUNDING)


def test_codes_that_ignore_the_data_have_no_information_about_them(make_vae: Any) -> None:
    vae = make_vae("normal", "full_rank")
    for head in (vae.posterior.family.loc, vae.posterior.family.scale, vae.posterior.family.below):
        nn.init.zeros_(head.weight)
    nn.init.normal_(vae.posterior.family.below.bias)
    parts = decomposition(vae, vae.sample(500).repeat(4, 1))
    assert parts.mutual_information.abs().max() < 1e-9
    covariance = vae.encode(vae.sample(1)).covariance_matrix[0]
    scale = covariance.diagonal().sqrt()
    correlation = (covariance / scale / scale[:, None])[0, 1]
    # Of two normal variables: -½ log(1 - ρ²).
    expected = -0.5 * (1 - correlation.square()).log()
    mean = parts.total_correlation.mean()
    error = parts.total_correlation.std() / len(parts.total_correlation) ** 0.5
    assert (mean - expected).abs() < 5 * error
    assert expected > 10 * error


def test_the_discrepancy_is_what_loops_over_pairs_say() -> None:
    a, b = torch.randn(5, 3).double(), torch.randn(5, 3).double()

    def kernel(first: Tensor, second: Tensor) -> Tensor:
        squared = (first - second).square().sum()
        return sum(2 * 3 * width / (2 * 3 * width + squared) for width in WIDTHS)

    def mean(first: Tensor, second: Tensor, *, distinct: bool) -> Tensor:
        pairs = [(i, j) for i in range(5) for j in range(5) if i != j or not distinct]
        return sum(kernel(first[i], second[j]) for i, j in pairs) / len(pairs)

    expected = (
        mean(a, a, distinct=True) + mean(b, b, distinct=True) - 2 * mean(a, b, distinct=False)
    )
    torch.testing.assert_close(mmd(a, b), expected, **ROUNDING)
    torch.testing.assert_close(mmd(torch.stack([a, b]), torch.stack([b, a])),
                               torch.stack([expected, expected]), **ROUNDING)  # fmt: skip


def test_the_discrepancy_of_two_samples_of_one_distribution_is_zero_in_the_mean(
    z_score: Any,
) -> None:
    assert z_score(mmd(torch.randn(3000, 8, 2), torch.randn(3000, 8, 2)), 0.0) < 5


def test_the_discrepancy_grows_with_the_distance() -> None:
    first, second = torch.randn(2, 200, 2)
    distances = [mmd(first, second + shift).item() for shift in (0.0, 0.5, 1.0, 3.0, 100.0)]
    assert distances == sorted(distances)
    torch.testing.assert_close(mmd(first, second), mmd(second, first))


def test_the_discrepancy_of_one_code_is_nothing_that_could_be_optimised() -> None:
    one = torch.randn(1, 2, requires_grad=True)
    alone = mmd(one, torch.randn(1, 2))
    alone.backward()
    assert alone == 0
    assert not one.grad.any()


@betas
def test_the_discrepancy_is_charged_beside_the_kl(make_vae: Any, beta: float) -> None:
    vae = make_vae()
    x = vae.sample(6)
    loss, _ = loss_and_gradient(vae, x, MMDObjective(weight=30.0), beta)
    kl, reconstruction = kl_and_reconstruction(vae, x)
    torch.manual_seed(1)
    z = vae.encode(x).rsample()
    prior = vae.prior(vae.posterior).sample((6,))
    expected = beta * kl.sum(-1).mean() + 30.0 * mmd(z, prior) - reconstruction.mean()
    torch.testing.assert_close(loss, expected.detach(), **ROUNDING)


def test_a_point_and_no_kl_make_the_wasserstein_autoencoder(make_vae: Any) -> None:
    vae = make_vae(guide="delta")
    x = vae.sample(6)
    loss, _ = loss_and_gradient(vae, x, MMDObjective(weight=30.0), beta=0.0)
    z = vae.encode(x).mean
    torch.manual_seed(1)
    prior = vae.prior(vae.posterior).sample((6,))
    expected = 30.0 * mmd(z, prior) - vae.decode(z).log_prob(x).mean()
    torch.testing.assert_close(loss, expected.detach(), **ROUNDING)


@objectives
def test_particles_drawn_at_once_or_in_turn_have_the_same_mean(
    make_vae: Any, make: Callable[..., Objective]
) -> None:
    vae = make_vae()
    x = vae.sample(4)

    @torch.no_grad()
    def draws(options: dict[str, Any]) -> Tensor:
        return torch.stack([make(**options).loss_and_terms(vae, x)[0] for _ in range(100)])

    first, second = draws(AT_ONCE), draws({"num_particles": 2})
    error = (first.var() / len(first) + second.var() / len(second)).sqrt()
    assert (first.mean() - second.mean()).abs() < 5 * error


@objectives
def test_data_that_stand_for_more_are_counted_so(
    make_vae: Any, make: Callable[..., Objective]
) -> None:
    vae = make_vae()
    x = vae.sample(4)

    def loss(size: int) -> Tensor:
        torch.manual_seed(1)
        return make().differentiable_loss(
            lambda x: vae.model(x, size), lambda x: vae.guide(x, size), x
        )

    torch.testing.assert_close(loss(40), 10 * loss(4), **ROUNDING)


@objectives
def test_a_penalised_bound_is_a_loss_for_svi(
    make_vae: Any, make: Callable[..., Objective]
) -> None:
    vae = make_vae()
    x = vae.sample(4)
    expected, _ = loss_and_gradient(vae, x, make())
    torch.manual_seed(1)
    step = SVI(vae.model, vae.guide, Adam({"lr": 1e-3}), loss=make()).step(x)
    assert step == pytest.approx(expected.item() * len(x), rel=1e-9)
