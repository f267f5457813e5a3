"""p(x, z) and q(z | x) as functions of codes, where both are known."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pyro import poutine

from pyrovae.errors import DataError, SpecError
from pyrovae.evaluation.coordinates import Spherical
from pyrovae.evaluation.importance import bounds, draw_weighted
from pyrovae.evaluation.local import LocalPosterior
from pyrovae.evaluation.simulation import simulate
from pyrovae.parts.distributions.von_mises_fisher import log_area

EXACT = 1e-10


@pytest.fixture(params=[True, False], ids=["at_once", "repeated"])
def oracle(request: pytest.FixtureRequest, make_linear_gaussian: Any) -> Any:
    oracle = make_linear_gaussian("full_rank", data=7)
    oracle.vae.vectorisable = request.param
    return oracle


@torch.no_grad()
def test_the_densities_are_those_of_the_model(oracle: Any) -> None:
    local = LocalPosterior(oracle.vae, oracle.x)
    z = torch.randn(4, 7, 2).double()
    log_prior, log_likelihood = local.log_model(z)
    torch.testing.assert_close(log_prior, oracle.vae.prior(oracle.vae.posterior).log_prob(z))
    torch.testing.assert_close(log_likelihood, oracle.vae.decode(z).log_prob(oracle.x))
    posterior = oracle.posterior.log_prob(z)
    torch.testing.assert_close(local.log_joint(z) - posterior, oracle.evidence.expand(4, 7))
    torch.testing.assert_close(local.log_guide(z), posterior)


@torch.no_grad()
def test_a_scale_around_the_programs_stays_out(oracle: Any) -> None:
    for program in ("model", "guide"):
        scaled = poutine.scale(getattr(oracle.vae, program), scale=3.0)
        object.__setattr__(oracle.vae, program, scaled)
    z = torch.randn(4, 7, 2).double()
    local = LocalPosterior(oracle.vae, oracle.x)
    posterior = oracle.posterior.log_prob(z)
    torch.testing.assert_close(local.log_guide(z), posterior)
    torch.testing.assert_close(local.log_joint(z) - posterior, oracle.evidence.expand(4, 7))


def test_a_draw_comes_with_the_densities_of_itself(oracle: Any) -> None:
    drawn = draw_weighted(oracle.vae, oracle.x, 5)
    with torch.no_grad():
        local = LocalPosterior(oracle.vae, oracle.x)
        torch.testing.assert_close(drawn.log_guide, local.log_guide(drawn.z))
        torch.testing.assert_close(
            drawn.log_prior + drawn.log_likelihood, local.log_joint(drawn.z)
        )
    found = bounds(drawn.log_weight)
    torch.testing.assert_close(found.elbo, oracle.evidence, rtol=0, atol=EXACT)
    torch.testing.assert_close(found.log_prob, oracle.evidence, rtol=0, atol=EXACT)


@torch.no_grad()
def test_draws_are_of_guide_and_prior(oracle: Any, z_score: Any) -> None:
    local = LocalPosterior(oracle.vae, oracle.x)
    assert z_score(local.draw_guide(5000), oracle.posterior.mean) < 5
    prior = local.draw_prior(5000)
    assert z_score(prior, 0.0) < 5
    assert z_score(prior.square(), 1.0) < 5


def test_what_is_simulated_follows_the_model(oracle: Any, z_score: Any) -> None:
    simulated = simulate(oracle.vae, oracle.x.repeat(1000, 1))
    weight, bias = oracle.vae.decoder.last.weight.detach(), oracle.vae.decoder.last.bias.detach()
    noise = simulated.x - simulated.z @ weight.T - bias
    assert z_score(noise, 0.0) < 5
    assert z_score(noise.square(), oracle.noise.item() ** 2) < 5
    assert z_score(simulated.z.square(), 1.0) < 5


@torch.no_grad()
@pytest.mark.parametrize("vectorisable", [True, False])
def test_every_pair_of_parts_has_a_local_posterior(
    make_vae: Any, covering_pair: tuple[str, str], vectorisable: bool
) -> None:
    prior, guide = covering_pair
    vae = make_vae(prior, guide)
    vae.vectorisable = vectorisable
    x = vae.sample(3)
    local = LocalPosterior(vae, x)
    assert local.point == (guide == "delta")
    drawn = local.draw(4)
    assert drawn.z.shape == (4, 3, 2)
    torch.testing.assert_close(drawn.log_prior + drawn.log_likelihood, local.log_joint(drawn.z))
    if not local.point:
        torch.testing.assert_close(drawn.log_guide, local.log_guide(drawn.z), rtol=1e-5, atol=1e-5)
    z, gain = local.coordinates.code(local.coordinates.free(drawn.z))
    torch.testing.assert_close(z, drawn.z)
    assert gain.shape == (4, 3)
    assert simulate(vae, x).x.shape == x.shape


def test_gradients_reach_the_codes(make_vae: Any, covering_pair: tuple[str, str]) -> None:
    prior, guide = covering_pair
    vae = make_vae(prior, guide)
    local = LocalPosterior(vae, vae.sample(3))
    z = local.draw_guide(4).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(local.log_joint(z).sum(), z)
    assert gradient.isfinite().all()
    assert (gradient != 0).any()


def test_a_uniform_direction_is_a_standard_normal_vector(z_score: Any) -> None:
    u = torch.randn(20_000, 3, dtype=torch.float64)
    z, gain = Spherical(3).code(u)
    normal = torch.distributions.Normal(0.0, 1.0).log_prob(u).sum(-1)
    torch.testing.assert_close(gain - log_area(3), normal)
    assert z_score(Spherical(3).free(z).square(), 1.0) < 5


def test_data_without_density_are_named(oracle: Any) -> None:
    x = oracle.x.clone()
    x[4] = torch.inf
    with pytest.raises(DataError, match=r"not finite for 1 data \(number 4\)"):
        draw_weighted(oracle.vae, x, 5)


def test_a_point_has_no_weights(make_vae: Any) -> None:
    vae = make_vae(guide="delta")
    with pytest.raises(SpecError, match="is a point, which has no density"):
        draw_weighted(vae, vae.sample(3), 5)
