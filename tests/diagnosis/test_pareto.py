"""The tails of weights: against ArviZ, against known tails, and where there is no tail."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import arviz as az
import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from pyrovae.diagnosis.pareto import check_weights
from pyrovae.errors import DataError, SpecError
from pyrovae.evaluation.importance import draw_weighted
from pyrovae.evaluation.pareto_smoothing import pareto_k, smooth
from pyrovae.evaluation.significance import fraction_interval, holm

DRAWS, OBS = 1000, 40


def arviz_psis(log_weight: Tensor) -> tuple[Tensor, Tensor, Callable[[float], int]]:
    """Weights and shapes from the installed ArviZ, and how it rounds the length of a tail."""
    rows = log_weight.T.numpy().copy()
    if int(az.__version__.split(".")[0]) == 0:
        weight, khat = az.psislw(rows)
        return torch.as_tensor(weight), torch.as_tensor(khat), math.ceil
    from arviz_stats.base import array_stats

    # It takes log-likelihoods, and negates them to make weights.
    weight, khat = array_stats.psislw(-rows, axis=-1)
    return torch.as_tensor(weight), torch.as_tensor(khat), math.floor


@pytest.mark.parametrize("draws", [100, 217, 1000, 3001])
@pytest.mark.parametrize("offset", [0.0, -1e5])
def test_it_is_what_arviz_computes(draws: int, offset: float) -> None:
    log_weight = torch.randn(draws, OBS).double() * torch.linspace(0.1, 6, OBS).double() + offset
    weight, khat, rounded = arviz_psis(log_weight)
    ours = smooth(log_weight, tail=rounded(min(draws / 5, 3 * draws**0.5)))
    torch.testing.assert_close(ours.khat, khat, rtol=0, atol=1e-9)
    torch.testing.assert_close(ours.log_weight.T, weight, rtol=0, atol=1e-8)


@pytest.mark.parametrize("shape", [0.25, 0.5, 1.0, 1.5])
def test_the_shape_of_a_known_tail_is_recovered(shape: float, z_score: Any) -> None:
    draws = 20_000
    uniform = torch.rand(draws, 60, dtype=torch.float64)
    khat = pareto_k(-shape * uniform.log())  # a Pareto variable is u^-k
    length = math.ceil(3 * draws**0.5)
    # The estimate is drawn towards 1/2 with the weight of 10 observations.
    assert z_score(khat, (length * shape + 5) / (length + 10)) < 5
    assert khat.std() < 3 * (1 + shape) / length**0.5  # that of maximum likelihood


def test_weights_that_are_bounded_have_no_heavy_tail() -> None:
    assert (pareto_k(torch.rand(DRAWS, OBS).double()) < 0.3).all()


def test_constants_and_order_change_nothing() -> None:
    log_weight = 2 * torch.randn(DRAWS, OBS, dtype=torch.float64)
    first, order = smooth(log_weight), torch.randperm(DRAWS)
    shifted = smooth(log_weight + torch.linspace(-1e3, 1e3, OBS))
    torch.testing.assert_close(shifted.khat, first.khat, rtol=0, atol=1e-8)
    torch.testing.assert_close(shifted.log_weight, first.log_weight, rtol=0, atol=1e-8)
    permuted = smooth(log_weight[order])
    torch.testing.assert_close(permuted.khat, first.khat, rtol=0, atol=1e-12)
    torch.testing.assert_close(permuted.log_weight, first.log_weight[order], rtol=0, atol=1e-12)


def test_each_datum_is_by_itself() -> None:
    log_weight = 2 * torch.randn(DRAWS, 3, dtype=torch.float64)
    log_weight[:, 1] = -5.0  # constant
    log_weight[:40, 2] = log_weight[:, 2].quantile(0.95)  # ties shorten the tail
    together = smooth(log_weight)
    for i in range(3):
        alone = smooth(log_weight[:, [i]])
        torch.testing.assert_close(alone.khat, together.khat[[i]])
        torch.testing.assert_close(alone.log_weight, together.log_weight[:, [i]])


def test_smoothed_weights_keep_their_order_and_sum_to_one() -> None:
    log_weight = 3 * torch.randn(DRAWS, OBS, dtype=torch.float64)
    smoothed = smooth(log_weight).log_weight
    torch.testing.assert_close(smoothed.logsumexp(0), torch.zeros(OBS).double())
    assert (smoothed.gather(0, log_weight.argsort(0)).diff(dim=0) >= -1e-12).all()
    ratio = smoothed - log_weight  # all but the tail were only normalised
    bulk = log_weight <= log_weight.quantile(0.9, 0)
    least = ratio.gather(0, log_weight.argmin(0, keepdim=True))
    torch.testing.assert_close(ratio[bulk], least.expand(DRAWS, OBS)[bulk])


@pytest.mark.parametrize("noise", [0.0, 1e-15, 1e-6])
def test_constant_weights_are_degenerate(noise: float) -> None:
    log_weight = -87.0 + noise * torch.randn(DRAWS, 3, dtype=torch.float64)
    smoothed = smooth(log_weight)
    assert smoothed.degenerate.all()
    assert (smoothed.khat == -torch.inf).all()
    expected = torch.full_like(log_weight, -math.log(DRAWS))
    torch.testing.assert_close(smoothed.log_weight, expected, rtol=0, atol=1e-4)


def test_draws_that_share_the_largest_weight_are_no_tail() -> None:
    log_weight = torch.randn(DRAWS, 3, dtype=torch.float64)
    log_weight[: DRAWS // 2, 0] = 9.0  # half of the draws: bounded
    log_weight[:, 1] = 0.0  # all but three: who knows what else there is
    log_weight[:3, 1] = 50.0
    smoothed = smooth(log_weight)
    assert smoothed.khat[0] == -torch.inf
    assert smoothed.khat[1] == torch.inf
    assert smoothed.khat[2].isfinite()
    assert not smoothed.degenerate.any()
    assert smoothed.log_weight.isfinite().all()


def test_one_draw_that_outweighs_all_others_is_no_good() -> None:
    log_weight = -1e4 * torch.rand(DRAWS, 1, dtype=torch.float64)
    log_weight[7] = 0.0
    smoothed = smooth(log_weight)
    assert smoothed.khat > 0.7
    assert not smoothed.log_weight.isnan().any()


def test_an_exact_guide_has_constant_weights(make_linear_gaussian: Any) -> None:
    oracle = make_linear_gaussian("full_rank", data=7)
    for dtype in (torch.float64, torch.float32):
        vae, x = oracle.vae.to(dtype), oracle.x.to(dtype)
        found = check_weights(draw_weighted(vae, x, 200).log_weight)
        assert found.degenerate.all()
        assert found.verdict().grade == "ok"
        assert "the guide is exact" in found.verdict().finding


def normals(ratio: float, draws: int = DRAWS) -> Tensor:
    """Weights of N(0, 1) from draws of N(0, ratio²): their tail has shape 1 - ratio²."""
    z = ratio * torch.randn(draws, 200, dtype=torch.float64)
    return (z / ratio).square() / 2 - z.square() / 2


def test_the_verdict_follows_the_width_of_the_guide() -> None:
    assert check_weights(normals(1.5)).verdict().grade == "ok"  # wider: bounded weights
    narrow = check_weights(normals(0.3))
    assert narrow.verdict().grade == "FAIL"
    assert "inference.guide.kind" in narrow.verdict().advice
    assert narrow.above.interval is not None
    assert narrow.above.interval[0] < narrow.above.value < narrow.above.interval[1]
    assert set(narrow.variables()) == {"khat", "effective_samples", "degenerate"}


def test_both_sides_of_the_thresholds() -> None:
    light, heavy = normals(1.5), -2 * torch.rand(DRAWS, 200).double().log()
    mixed = torch.cat([heavy[:, :20], light[:, :180]], dim=1)
    verdict = check_weights(mixed).verdict()
    assert verdict.grade == "WARN"
    assert verdict.finding.startswith("10 % of 200 data have k-hat > 0.67")


def test_too_few_draws_and_weights_that_are_not_finite_are_refused() -> None:
    with pytest.raises(SpecError, match="at least 100 are needed"):
        check_weights(torch.randn(99, 3))
    with pytest.raises(SpecError, match="at least 25 draws are needed"):
        smooth(torch.randn(20, 3))
    bad = torch.randn(DRAWS, 3)
    bad[5, 1] = -torch.inf
    with pytest.raises(DataError, match="number 1"):
        smooth(bad)


def test_holm_bounds_the_smallest_of_all() -> None:
    p = np.random.default_rng(0).uniform(size=(20_000, 5))
    wrong = np.mean([holm(row).min() < 0.05 for row in p])
    assert abs(wrong - (1 - 0.99**5)) < 5 * (0.05 * 0.95 / 20_000) ** 0.5
    assert (holm(p[0]) >= p[0]).all()


def test_an_interval_covers_as_often_as_it_says() -> None:
    count = np.arange(51)
    low, high = np.array([fraction_interval(int(n), 50) for n in count]).T
    fractions = np.linspace(0.05, 0.95, 200)[:, None]
    chance = stats.binom.pmf(count, 50, fractions)
    covered = (chance * ((low < fractions) & (fractions < high))).sum(-1)
    assert abs(covered.mean() - 0.95) < 0.01
