"""How well a score tells two sets apart, where it can be counted, and how often intervals hold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.random import default_rng
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from pyrovae.exploration.auroc import separation, standard_error


def normal(shift: float, count: int, seed: int, scale: float = 1.0) -> np.ndarray:
    return default_rng(seed).normal(shift, scale, count)


def test_it_is_the_share_of_pairs_in_the_right_order() -> None:
    inside = default_rng(0).integers(0, 6, 17).astype(float)
    outside = default_rng(1).integers(2, 9, 11).astype(float)
    pairs = outside[:, None] - inside
    share = ((pairs > 0) + 0.5 * (pairs == 0)).mean()
    found = separation(inside, outside)
    assert found.auroc == pytest.approx(share)
    assert found.auroc == pytest.approx(
        roc_auc_score([0] * 17 + [1] * 11, np.concatenate([inside, outside]))
    )


def test_a_set_against_itself_says_nothing() -> None:
    scores = normal(0, 50, 0)
    found = separation(scores, scores)
    assert found.auroc == pytest.approx(0.5)
    low, high = found.auroc_interval
    assert low < 0.5 < high
    assert low + high == pytest.approx(1)


@pytest.mark.parametrize("count", [1, 2, 6, 9, 40, 49])
def test_separated_sets_are_found_whole(count: int) -> None:
    found = separation(normal(0, count, 0), normal(100, count, 1))
    assert found.auroc == found.auprc == 1
    low, high = found.auroc_interval
    # As many successes of as many: with a larger chance of failure one would have been seen.
    assert high == 1
    assert low == pytest.approx(0 if count == 1 else 0.025 ** (1 / count))


def test_the_other_sign_is_the_complement() -> None:
    inside, outside = normal(0, 30, 0), normal(0.7, 40, 1)
    found, other = separation(inside, outside), separation(-inside, -outside)
    assert found.auroc + other.auroc == pytest.approx(1)
    assert found.auroc_interval[0] + other.auroc_interval[1] == pytest.approx(1)
    assert separation(inside, inside + 100).auroc_interval[0] == pytest.approx(
        1 - separation(inside + 100, inside).auroc_interval[1]
    )


def test_only_the_order_matters() -> None:
    inside, outside = normal(0, 30, 0), normal(0.7, 40, 1)
    bent = separation(np.exp(3 * inside) - 5, np.exp(3 * outside) - 5)
    for found, expected in zip(bent, separation(inside, outside), strict=True):
        assert found == pytest.approx(expected)


def test_the_standard_error_is_that_of_the_jackknife() -> None:
    # Leaving out one datum of a set at a time gives the variance of its part exactly: the AUROC
    # is linear in either set.
    inside, outside = normal(0, 12, 0), normal(1, 9, 1)
    variance = 0.0
    for side, count in ((0, 12), (1, 9)):
        sets = [inside, outside]
        left = []
        for i in range(count):
            few = list(sets)
            few[side] = np.delete(sets[side], i)
            left.append(roc_auc_score([0] * len(few[0]) + [1] * len(few[1]), np.concatenate(few)))
        variance += (count - 1) ** 2 / count * np.var(left, ddof=1)
    assert standard_error(inside, outside) == pytest.approx(math.sqrt(variance))


def test_a_single_datum_leaves_everything_open() -> None:
    assert separation(np.zeros(1), np.ones(5)).auroc_interval == (0.0, 1.0)


@pytest.mark.parametrize(("shift", "scale"), [(1.5, 1.0), (0.5, 3.0)])
def test_intervals_hold_the_truth_as_often_as_they_say(shift: float, scale: float) -> None:
    truth = norm.cdf(shift / math.hypot(1, scale))
    precision = separation(normal(0, 40_000, 8), normal(shift, 40_000, 9, scale)).auprc
    runs, area, average = 300, 0, 0
    for run in range(runs):
        found = separation(normal(0, 60, 2 * run), normal(shift, 60, 2 * run + 1, scale))
        area += found.auroc_interval[0] <= truth <= found.auroc_interval[1]
        average += found.auprc_interval[0] <= precision <= found.auprc_interval[1]
    # Five standard errors of a share of 0.95 in 300 runs are 0.063.
    assert abs(area / runs - 0.95) < 0.063
    # Of the average precision the interval is an approximation, and rather too wide than narrow.
    assert average / runs > 0.95 - 0.063


def test_precision_without_information_is_the_share_of_what_is_sought() -> None:
    inside, outside = normal(0, 30_000, 0), normal(0, 10_000, 1)
    assert separation(inside, outside).auprc == pytest.approx(0.25, abs=0.02)
