"""Chains of Hamiltonian Monte Carlo draw from the density that they are given."""

from __future__ import annotations

from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn

from pyrovae.compute import chunks
from pyrovae.errors import SpecError
from pyrovae.evaluation import annealed_importance
from pyrovae.evaluation.annealed_importance import anneal
from pyrovae.evaluation.hamiltonian import (
    DualAveraging,
    Point,
    at,
    guide_scale,
    leapfrog,
    posterior_density,
    require_gradient,
    transition,
)
from pyrovae.evaluation.local import LocalPosterior
from pyrovae.programs.autoencoder import Autoencoder, Formulas


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """All data are annealed at once: networks are small, and there are many repeats."""
    monkeypatch.setattr(chunks, "CODES", 100_000)


def quartic(u: Tensor) -> Tensor:
    """Log-density on the plane, without symmetry between its dimensions."""
    a, b = u.unbind(-1)
    return -(a**4) / 4 - 2 * (b - a / 2).square()


def run(log_prob: Any, point: Point, scale: Tensor, warmup: int = 30, after: int = 10) -> Any:
    """Where many chains are after a warm-up and a few more transitions, steps fixed."""
    tuned = DualAveraging(torch.ones_like(point.log_prob))
    for _ in range(warmup):
        moved = transition(log_prob, point, tuned.step, scale)
        point = moved.point
        tuned.update(moved.acceptance)
    acceptance = []
    for _ in range(after):
        moved = transition(log_prob, point, tuned.averaged, scale)
        point = moved.point
        acceptance.append(moved.acceptance)
    return point.u, torch.stack(acceptance), tuned.averaged


def test_the_way_back_leads_back() -> None:
    start = at(quartic, torch.randn(5, 3, 2, dtype=torch.float64))
    momentum = torch.randn(5, 3, 2, dtype=torch.float64)
    step = 0.1 + 0.3 * torch.rand(5, 3, dtype=torch.float64)
    scale = torch.tensor([1.0, 0.3], dtype=torch.float64)
    end, momentum_end = leapfrog(quartic, start, momentum, step, scale)
    assert (end.u - start.u).abs().max() > 0.5
    back, momentum_back = leapfrog(quartic, end, -momentum_end, step, scale)
    torch.testing.assert_close(back.u, start.u)
    torch.testing.assert_close(-momentum_back, momentum)


def test_volumes_stay_the_same() -> None:
    def flow(state: Tensor) -> Tensor:
        u, momentum = state.split(2, dim=-1)
        one = torch.ones(u.shape[:-1], dtype=torch.float64)
        scale = torch.tensor([1.0, 0.3], dtype=torch.float64)
        point, momentum = leapfrog(quartic, at(quartic, u), momentum, 0.3 * one, scale)
        return torch.cat([point.u, momentum], dim=-1)

    state = torch.randn(4, dtype=torch.float64)
    nudge = 1e-5 * torch.eye(4, dtype=torch.float64)
    jacobian = (flow(state + nudge) - flow(state - nudge)) / 2e-5
    assert abs(torch.linalg.det(jacobian).abs().item() - 1) < 1e-6


def test_energy_is_nearly_kept_and_better_with_smaller_steps() -> None:
    start = at(quartic, torch.randn(200, 1, 2, dtype=torch.float64))
    momentum = torch.randn(200, 1, 2, dtype=torch.float64)
    errors = []
    for step in (0.02, 0.01):
        steps = torch.full((200, 1), step, dtype=torch.float64)
        end, after = leapfrog(quartic, start, momentum, steps, torch.ones(2), int(0.16 / step))
        energy = after.square().sum(-1) / 2 - end.log_prob
        errors.append((energy - momentum.square().sum(-1) / 2 + start.log_prob).abs().mean())
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.05)  # of second order


def test_moments_are_those_of_a_dense_correlated_posterior(
    make_linear_gaussian: Any, z_score: Any
) -> None:
    oracle = make_linear_gaussian("full_rank", data=3)
    local = LocalPosterior(oracle.vae, oracle.x)
    posterior = oracle.posterior
    log_prob = posterior_density(local)
    start = at(log_prob, local.draw_prior(1000).detach())
    u, acceptance, _ = run(log_prob, start, guide_scale(local).detach())
    assert z_score(u, posterior.mean) < 5
    centred = u - posterior.mean
    products = centred.unsqueeze(-1) * centred.unsqueeze(-2)
    assert z_score(products, posterior.covariance_matrix) < 5
    assert 0.7 < acceptance.mean() < 0.97  # short warm-ups end up above their target
    assert all(parameter.grad is None for parameter in oracle.vae.parameters())


def test_an_invariant_density_stays_as_it_is_at_any_step(z_score: Any) -> None:
    """Also where most proposals are rejected: this needs the accept step to be right."""
    u = torch.randn(20_000, 1, 3, dtype=torch.float64)
    point = at(lambda u: -u.square().sum(-1) / 2, u)
    step = torch.full((20_000, 1), 2.2, dtype=torch.float64)
    rates = []
    for _ in range(4):
        moved = transition(lambda u: -u.square().sum(-1) / 2, point, step, torch.ones(3))
        point = moved.point
        rates.append(moved.acceptance.mean())
    assert 0.2 < sum(rates) / 4 < 0.9
    assert z_score(point.u, 0.0) < 5
    assert z_score(point.u.square(), 1.0) < 5
    assert z_score(point.u**4, 3.0) < 5


def test_each_row_has_a_step_of_its_own() -> None:
    widths = torch.tensor([0.01, 1.0, 100.0], dtype=torch.float64)

    def log_prob(u: Tensor) -> Tensor:
        return -(u / widths.unsqueeze(-1)).square().sum(-1) / 2

    start = at(log_prob, widths.unsqueeze(-1) * torch.randn(50, 3, 2, dtype=torch.float64))
    _, acceptance, step = run(log_prob, start, torch.ones(2), warmup=150)
    torch.testing.assert_close(step.log().mean(0).exp() / widths, step[:, 1].log().mean().exp()
                               .expand(3), rtol=0.2, atol=0.0)  # fmt: skip
    assert ((acceptance.mean((0, 1)) - 0.85).abs() < 0.1).all()


def test_what_lies_outside_is_rejected_and_counted(z_score: Any) -> None:
    """Uniform on a box, beyond which there is no number: nothing leaves, and all is filled."""

    def log_prob(u: Tensor) -> Tensor:
        outside = (u.abs() > 1).any(-1)
        return (0 * u.sum(-1)).where(~outside, torch.nan)

    u = 2 * torch.rand(5000, 1, 2, dtype=torch.float64) - 1
    step = torch.full((5000, 1), 0.2, dtype=torch.float64)
    point, diverging = at(log_prob, u), []
    for _ in range(3):
        moved = transition(log_prob, point, step, torch.ones(2))
        point = moved.point
        diverging.append(moved.diverging)
        torch.testing.assert_close(moved.acceptance, (~moved.diverging).double())
    assert 0.2 < torch.stack(diverging).double().mean() < 0.9
    assert z_score(point.u, 0.0) < 5
    assert z_score(point.u.square(), 1 / 3) < 5


def test_a_lost_point_stays_lost() -> None:
    u = torch.tensor([[[torch.inf], [0.0]]])
    point = at(lambda u: -u.square().sum(-1), u)
    assert point.log_prob.tolist() == [[-torch.inf, 0.0]]
    end, _ = leapfrog(
        lambda u: -u.square().sum(-1), point, torch.ones(1, 2, 1), torch.ones(1, 2), torch.ones(1)
    )
    assert end.log_prob[0, 0] == -torch.inf
    assert end.log_prob[0, 1].isfinite()


def test_moments_on_the_circle(make_vae: Any, z_score: Any) -> None:
    """Against quadrature over the angle."""
    vae = make_vae("hyperspherical", "von_mises_fisher")
    local, moments = on_the_circle(vae)
    log_prob = posterior_density(local)
    z = local.draw_prior(1000).detach()
    u, _, _ = run(log_prob, at(log_prob, local.coordinates.free(z)), guide_scale(local).detach())
    z, _ = local.coordinates.code(u)
    assert z_score(z, moments[..., :2]) < 5
    assert z_score(z.unsqueeze(-1) * z.unsqueeze(-2), moments[..., 2:].unflatten(-1, (2, 2))) < 5
    assert z_score(u.square().sum(-1), 2.0) < 5  # the length is that of a normal vector


@torch.no_grad()
def on_the_circle(vae: Any) -> tuple[LocalPosterior, Tensor]:
    """First and second moments ``(data, 6)`` of p(z | x)."""
    last = vae.decoder.last
    last.weight *= 20  # a posterior that is not flat
    local = LocalPosterior(vae, vae.sample(3))
    angle = torch.arange(2000, dtype=torch.float64) * (2 * torch.pi / 2000)
    z = torch.stack([angle.cos(), angle.sin()], dim=-1).unsqueeze(1).expand(-1, 3, -1)
    weights = local.log_joint(z).softmax(0).unsqueeze(-1)
    products = (z.unsqueeze(-1) * z.unsqueeze(-2)).flatten(-2)
    return local, (weights * torch.cat([z, products], dim=-1)).sum(0)


class Bounded(Autoencoder):
    """A rate and a probability, both with conjugate priors; the guide is wrong."""

    def __init__(self, vectorisable: bool) -> None:
        super().__init__()
        self.vectorisable = vectorisable
        self.wide = nn.Parameter(torch.tensor(0.6, dtype=torch.float64))

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            two = torch.tensor(2.0, dtype=torch.float64)
            rate = pyro.sample("rate", dist.Gamma(two, two / 2))
            chance = pyro.sample("chance", dist.Beta(two, two * 1.5))
            counts, flags = x[..., :3], x[..., 3:]
            pyro.sample("counts", dist.Poisson(rate.unsqueeze(-1)).to_event(1), obs=counts)
            pyro.sample("flags", dist.Bernoulli(chance.unsqueeze(-1)).to_event(1), obs=flags)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("rate", dist.LogNormal(x[..., 0] * 0 + 0.3, self.wide))
            pyro.sample("chance", dist.Beta(x[..., 0] * 0 + 2.0, 3 * self.wide))

    def formulas(self) -> Formulas:
        return Formulas("Gamma, Beta", "Poisson, Bernoulli", "LogNormal, Beta")

    @staticmethod
    def posterior(x: Tensor) -> tuple[Any, Any]:
        counts, flags = x[..., :3].sum(-1), x[..., 3:].sum(-1)
        return dist.Gamma(2 + counts, torch.tensor(4.0)), dist.Beta(2 + flags, 5 - flags)


BOUNDED = torch.tensor([[0.0, 1.0, 2.0, 1.0, 0.0], [3.0, 0.0, 1.0, 1.0, 1.0]]).double()


@pytest.mark.parametrize("vectorisable", [True, False], ids=["at_once", "repeated"])
def test_moments_within_bounds(vectorisable: bool, z_score: Any) -> None:
    bounded = Bounded(vectorisable)
    local = LocalPosterior(bounded, BOUNDED)
    log_prob = posterior_density(local)
    start = at(log_prob, local.coordinates.free(local.draw_prior(1000)).detach())
    u, _, _ = run(log_prob, start, guide_scale(local).detach())
    z, _ = local.coordinates.code(u)
    assert (z > 0).all()
    assert (z[..., 1] < 1).all()
    rate, chance = bounded.posterior(BOUNDED)
    assert z_score(z, torch.stack([rate.mean, chance.mean], dim=-1)) < 5
    squares = [density.variance + density.mean.square() for density in (rate, chance)]
    assert z_score(z.square(), torch.stack(squares, dim=-1)) < 5


@pytest.mark.parametrize("start", ["guide", "prior"])
def test_annealed_weights_within_bounds_are_unbiased(
    start: Any, z_score: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(annealed_importance, "PILOT_TRIES", 5)  # unbiased with any step
    bounded = Bounded(vectorisable=True)
    x = BOUNDED.repeat(500, 1)
    rate, chance = bounded.posterior(BOUNDED)
    z = torch.tensor([[1.3, 0.4], [1.3, 0.4]], dtype=torch.float64)
    with torch.no_grad():
        log_joint = LocalPosterior(bounded, BOUNDED).log_joint(z.unsqueeze(0))[0]
    evidence = log_joint - rate.log_prob(z[:, 0]) - chance.log_prob(z[:, 1])
    found = anneal(bounded, x, steps=3, chains=4, start=start).log_prob.reshape(500, 2)
    assert z_score((found - evidence).exp(), 1.0) < 5


class Unfriendly(Autoencoder):
    """Programs that no gradient leads through."""

    vectorisable = True

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.weight = nn.Parameter(torch.ones(()))

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", self._prior(x))
            mean = (self.weight * z.detach()).unsqueeze(-1)
            pyro.sample("x", dist.Normal(mean, 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", self._prior(x))

    def _prior(self, x: Tensor) -> Any:
        half = 0 * x[..., 0] + 0.5
        return dist.Bernoulli(half) if self.how == "discrete" else dist.Normal(half, 1.0)

    def formulas(self) -> Formulas:
        return Formulas("", "", "")


def test_codes_without_gradient_are_refused() -> None:
    x = torch.zeros(2, 3)
    with pytest.raises(SpecError, match="no gradient with respect to z"):
        require_gradient(LocalPosterior(Unfriendly("detached"), x))
    with pytest.raises(SpecError, match="site 'z' is discrete"):
        posterior_density(LocalPosterior(Unfriendly("discrete"), x))
