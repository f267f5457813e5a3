"""Chains follow p(z | x), and show where the guide does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import infer
from torch import Tensor, nn

from pyrovae.diagnosis.mcmc import check_mcmc, gradients
from pyrovae.errors import DataError, SpecError
from pyrovae.programs.autoencoder import Autoencoder, Formulas
from pyrovae.specs.computation import Computation


def standard_errors(found: Any, expected: np.ndarray) -> float:
    """Of the chains' means, from where they should be; the worst."""
    z = found.z.reshape(-1, *found.z.shape[2:]).astype(float)
    return float(np.abs((z.mean(0) - expected) / (z.std(0) / np.sqrt(found.ess))).max())


def test_an_exact_guide_agrees_with_the_chains(make_linear_gaussian: Any) -> None:
    oracle = make_linear_gaussian("full_rank", data=20)
    eager = Computation("off")  # compiling would take longer than these few steps
    found = check_mcmc(oracle.vae, oracle.x, warmup=100, draws=150, computation=eager)
    assert standard_errors(found, oracle.posterior.mean.numpy()) < 5
    spread = found.z.std((0, 1)) / oracle.posterior.variance.sqrt().numpy()
    np.testing.assert_allclose(spread.mean(0), 1.0, atol=0.05)
    assert np.abs(found.mean_shift.mean(0)).max() < 0.1
    np.testing.assert_allclose(found.scale_ratio.mean(0), 1.0, atol=0.05)
    np.testing.assert_allclose(found.guide_coverage.mean(0), 0.9, atol=0.03)
    assert found.rhat.max() < 1.1
    assert found.divergences < 5e-3 * found.z[..., 0].size
    assert found.z.dtype == np.float32
    assert found.z.shape == (4, 150, 20, 2)
    assert found.starts == ("guide", "guide", "prior", "prior")
    assert {stat.shape for stat in found.sample_stats.values()} == {(4, 150, 20)}
    assert all(variable.values.shape == (20, 2) for variable in found.variables().values())
    assert all(np.isfinite(number.value) for number in found.numbers())
    grades = [graded(found, rhat, ess) for rhat, ess in ((1.005, 900), (1.02, 900), (1.005, 300))]
    assert grades == ["ok", "WARN", "WARN"]
    assert graded(found, 1.06, 900) == graded(found, np.inf, 0) == "FAIL"


def graded(found: Any, rhat: float, ess: float) -> str:
    """The grade if all chains were as good as that."""
    same = {"rhat": np.full((20, 2), rhat), "ess": np.full((20, 2), float(ess))}
    return replace(found, **same).verdict().grade


def test_the_log_density_is_that_of_the_draws(make_linear_gaussian: Any) -> None:
    oracle = make_linear_gaussian("full_rank", data=3)
    found = check_mcmc(oracle.vae, oracle.x, warmup=10, draws=20)
    z = torch.from_numpy(found.z).double().flatten(0, 1)
    expected = oracle.posterior.log_prob(z) + oracle.evidence
    lp = torch.from_numpy(found.sample_stats["lp"]).flatten(0, 1)
    torch.testing.assert_close(lp, expected, rtol=1e-4, atol=1e-4)  # z is kept in float32


def test_a_shifted_guide_is_found(make_linear_gaussian: Any) -> None:
    oracle = make_linear_gaussian("diagonal", data=20)
    with torch.no_grad():
        oracle.vae.posterior.family.loc.bias += 0.5 * oracle.posterior.variance.sqrt()[0]
    found = check_mcmc(oracle.vae, oracle.x, warmup=30, draws=50)
    np.testing.assert_allclose(found.mean_shift.mean(0), 0.5, atol=0.08)
    assert found.verdict().grade != "ok"
    assert "do not use the guide's means" in found.verdict().advice


def test_a_narrow_guide_is_found(make_linear_gaussian: Any) -> None:
    oracle = make_linear_gaussian("diagonal", data=20)
    with torch.no_grad():  # softplus(raw) is the scale
        raw = oracle.vae.posterior.family.scale.bias
        raw.copy_(torch.log(torch.expm1(0.6 * torch.nn.functional.softplus(raw))))
    found = check_mcmc(oracle.vae, oracle.x, warmup=30, draws=50)
    np.testing.assert_allclose(found.scale_ratio.mean(0), 0.6, atol=0.04)
    expected = 2 * dist.Normal(0.0, 1.0).cdf(torch.tensor(0.6 * 1.645)).item() - 1
    np.testing.assert_allclose(found.guide_coverage.mean(0), expected, atol=0.04)


class Squared(Autoencoder):
    """x ~ Normal(z², 0.3): two modes if x is large, of which the guide sits on one."""

    vectorisable = True

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones((), dtype=torch.float64))

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(0 * x[..., :1], 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.weight * z.square(), 0.3).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(x.clamp(min=0.04).sqrt(), 0.1).to_event(1))

    def formulas(self) -> Formulas:
        return Formulas("Normal", "Normal", "Normal")


def test_a_missed_mode_is_found_by_chains_from_the_prior() -> None:
    x = torch.full((20, 1), 4.0, dtype=torch.float64)
    found = check_mcmc(Squared(), x, warmup=40, draws=120)
    assert (found.rhat_guide < 1.2).all()
    assert (
        found.missed.sum() >= 8
    )  # for a quarter, both chains from the prior come to the guide's mode
    assert found.verdict().grade == "FAIL"
    assert "modes that the guide misses" in found.verdict().advice
    from_guide = found.z[:2]
    assert (from_guide > 0).all()


def test_chains_agree_with_those_of_pyro(make_vae: Any) -> None:
    """The same posterior by Pyro's NUTS, one datum at a time."""
    vae = make_vae()
    with torch.no_grad():
        vae.decoder.last.weight *= 10
    x = vae.sample(1)
    found = check_mcmc(vae, x.repeat(50, 1), warmup=40, draws=40)
    draws = found.z.reshape(-1, 2).astype(float)
    vae.eval()
    kernel = infer.NUTS(vae.model)
    reference = infer.MCMC(kernel, num_samples=150, warmup_steps=40, disable_progbar=True)
    reference.run(x)
    z = reference.get_samples()["z"][:, 0].numpy()
    # Successive draws count for a half: these posteriors are easy.
    error = np.sqrt(z.var(0) / (len(z) / 2) + draws.var(0) / (len(draws) / 2))
    assert (np.abs(z.mean(0) - draws.mean(0)) < 4.5 * error).all()
    np.testing.assert_allclose(z.std(0), draws.std(0), rtol=0.3)


def test_a_point_is_compared_by_its_place_alone(make_vae: Any) -> None:
    vae = make_vae("normal", "delta")
    found = check_mcmc(vae, vae.sample(2), warmup=5, draws=10)
    assert np.isfinite(found.mean_shift).all()
    assert np.isnan(found.scale_ratio).all()
    assert "intervals hold" not in found.verdict().finding


def test_codes_on_the_sphere_stay_there(make_vae: Any) -> None:
    vae = make_vae("hyperspherical", "von_mises_fisher")
    found = check_mcmc(vae, vae.sample(2), warmup=5, draws=5)
    np.testing.assert_allclose(np.linalg.norm(found.z, axis=-1), 1.0, rtol=1e-5)


def test_the_cost_is_what_was_said(make_vae: Any) -> None:
    vae, count = make_vae(), 0

    def add(module: Any, inputs: tuple[Tensor], output: Any) -> None:
        nonlocal count
        if inputs[0].requires_grad:
            count += inputs[0][..., 0].numel()

    vae.decoder.register_forward_hook(add)
    check_mcmc(vae, vae.sample(3), warmup=5, draws=6)
    assert count == pytest.approx(gradients(3, warmup=5, draws=6), rel=0.01)


def test_what_cannot_work_is_refused(make_linear_gaussian: Any) -> None:
    oracle = make_linear_gaussian(data=2)
    with pytest.raises(SpecError, match=r"draws = 3: .* at least 4"):
        check_mcmc(oracle.vae, oracle.x, draws=3)
    with pytest.raises(SpecError, match=r"chains = 3: at least 4"):
        check_mcmc(oracle.vae, oracle.x, chains=3)
    with pytest.raises(SpecError, match="warmup = 0"):
        check_mcmc(oracle.vae, oracle.x, warmup=0)
    x = oracle.x.clone()
    x[1] = torch.nan
    with pytest.raises(DataError, match="number 1"):
        check_mcmc(oracle.vae, x, warmup=1, draws=4)
