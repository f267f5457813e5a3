"""Codes of the data against the prior: the same for an exact guide, and planted differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from pyrovae.diagnosis.aggregate import Aggregate, check_aggregate
from pyrovae.errors import DataError


@pytest.mark.parametrize("vectorisable", [True, False])
@pytest.mark.parametrize("guide", ["diagonal", "full_rank"])
def test_an_exact_guide_on_data_of_the_model_gives_the_prior(
    make_linear_gaussian: Any, guide: Any, vectorisable: bool
) -> None:
    oracle = make_linear_gaussian(guide, data=1200)
    oracle.vae.vectorisable = vectorisable
    found = check_aggregate(oracle.vae, oracle.x)
    assert found.p_values.min() > 0.01
    assert found.verdict().grade == "ok"
    assert found.correlations[0] < 4 / 1200**0.5
    for draws in (found.aggregated, found.prior):
        assert stats.kstest(draws.flatten(), "norm").pvalue > 0.01
    for draws, density in (
        (found.aggregated, found.log_prior_aggregated),
        (found.prior, found.log_prior_prior),
    ):
        np.testing.assert_allclose(density, stats.norm.logpdf(draws).sum(-1))


@pytest.mark.parametrize(("shift", "grade"), [(0.3, "WARN"), (1.0, "FAIL")])
def test_a_shift_is_found(make_linear_gaussian: Any, shift: float, grade: str) -> None:
    oracle = make_linear_gaussian("diagonal", data=1200)
    with torch.no_grad():
        oracle.vae.posterior.family.loc.bias[1] += shift
    found = check_aggregate(oracle.vae, oracle.x)
    expected = 1 - 2 * stats.norm.sf(shift / 2)  # of two normals of variance one
    assert abs(found.distances[1] - expected) < 4 * (0.5 / 1200) ** 0.5
    assert found.p_values[1] < 1e-6 < found.p_values[0]
    assert found.verdict().grade == grade
    assert "'vamp'" in found.verdict().advice
    assert "z[1] is" in found.verdict().finding


def test_a_shell_is_found_by_the_density(z_score: Any) -> None:
    # Each dimension of a thin shell in high dimensions is normal; the radius is not.
    generator = torch.Generator().manual_seed(0)
    prior = torch.randn(1000, 30, generator=generator).double()
    shell = torch.randn(1000, 30, generator=generator).double()
    shell = nn.functional.normalize(shell, dim=-1) * 30**0.5
    found = planted(shell, prior)
    assert found.distances.max() < 0.1
    assert found.density_distance > 0.4
    assert found.verdict().grade == "FAIL"


def planted(aggregated: Tensor, prior: Tensor) -> Aggregate:
    log_prior = [torch.distributions.Normal(0, 1).log_prob(z).sum(-1) for z in (aggregated, prior)]
    names = [f"z[{i}]" for i in range(prior.shape[1])]
    return Aggregate(names, *(part.numpy() for part in (aggregated, prior, *log_prior)))


def test_correlations_that_the_prior_lacks_are_found() -> None:
    prior, z = torch.randn(2, 2000, 5, dtype=torch.float64)
    z[:, 3] = 0.6 * z[:, 1] + 0.8 * z[:, 3]
    found = planted(z, prior)
    assert found.correlations[0] == pytest.approx(0.6, abs=0.06)
    assert found.correlations[1] < 0.1
    assert found.distances.max() < 0.1
    assert found.verdict().grade == "WARN"
    again = planted(z, z[torch.randperm(2000)])  # as the prior has them, they are right
    assert again.correlation_difference < 1e-9
    assert again.verdict().grade == "ok"


def test_noise_is_not_a_difference() -> None:
    generator = torch.Generator().manual_seed(0)
    grades = [
        planted(*torch.randn(2, 60, 10, dtype=torch.float64, generator=generator)).verdict().grade
        for _ in range(50)
    ]
    assert grades.count("ok") >= 45


def test_codes_that_do_not_vary(make_linear_gaussian: Any) -> None:
    oracle = make_linear_gaussian("diagonal", data=60)
    nn.init.zeros_(oracle.vae.posterior.family.loc.weight)
    nn.init.constant_(oracle.vae.posterior.family.scale.bias, -100.0)
    found = check_aggregate(oracle.vae, oracle.x)
    assert found.verdict().grade == "FAIL"
    assert all(np.isfinite(number.value) for number in found.numbers())


def test_every_pair_of_parts(make_vae: Any, covering_pair: tuple[str, str]) -> None:
    vae = make_vae(*covering_pair)
    x, before = vae.sample(50), torch.get_rng_state()
    found = check_aggregate(vae, x)
    assert torch.equal(before, torch.get_rng_state())
    assert found.aggregated.shape == found.prior.shape == (50, 2)
    assert found.verdict().grade in ("ok", "WARN", "FAIL")
    assert all(np.isfinite(number.value) for number in found.numbers())
    assert {len(variable.values) for variable in found.variables().values()} == {50}
    if covering_pair[0] == "hyperspherical":  # of constant density
        assert found.density_distance == 0
        assert found.p_values[-1] == 1


def test_few_data_and_codes_without_density_are_refused(make_linear_gaussian: Any) -> None:
    oracle = make_linear_gaussian(data=50)
    with pytest.raises(DataError, match="at least 20 are needed"):
        check_aggregate(oracle.vae, oracle.x[:19])
    nn.init.constant_(oracle.vae.posterior.family.loc.bias, torch.inf)
    with pytest.raises(DataError, match=r"no finite log p\(z\)"):
        check_aggregate(oracle.vae, oracle.x)
