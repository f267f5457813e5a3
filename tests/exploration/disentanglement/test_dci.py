from __future__ import annotations

import numpy as np
import pytest

from pyrovae.exploration.disentanglement import dci
from pyrovae.exploration.disentanglement.latents_with_factors import Array

FEW = {"train": 1000, "test": 500}


@pytest.mark.parametrize("trees", ["forest", "boosting"])
def test_a_perfect_code_has_the_best_scores(perfect: Array, grid: Array, trees: str) -> None:
    found = dci(perfect, grid, trees=trees, **FEW)
    assert found[:3] == pytest.approx((1.0, 1.0, 1.0), abs=0.02)
    assert found.importance.argmax(0).tolist() == [1, 2, 0]
    assert found.importance.sum(0) == pytest.approx(np.ones(3))


def test_a_copied_dimension_is_disentangled_but_not_complete(perfect: Array, grid: Array) -> None:
    found = dci(np.hstack([perfect, 2 * perfect[:, :1]]), grid, **FEW)
    assert found.disentanglement == pytest.approx(1.0, abs=0.02)
    copies = found.importance[[0, 3], 2]
    entropy = -(copies * np.log(copies)).sum()  # forests use one or the other
    assert found.completeness == pytest.approx(1 - entropy / np.log(4) / 3, abs=0.02)
    assert found.completeness < 0.9


def test_a_rotated_code_says_all_but_is_entangled(rotated: Array, grid: Array) -> None:
    found = dci(rotated, grid)
    assert found.informativeness > 0.95
    # One dimension of three is clean; the others share two factors of three.
    half = 1 - np.log(2) / np.log(3)
    assert found.disentanglement == pytest.approx((1 + 2 * half) / 3, abs=0.05)
    assert found.importance[:2, 1:] == pytest.approx(np.full((2, 2), 0.5), abs=0.15)


def test_noise_is_neither(noise: Array, grid: Array) -> None:
    found = dci(noise, grid)
    assert found.disentanglement < 0.02
    assert found.completeness < 0.02
    chance, tests = (1 / 3 + 1 / 5 + 1 / 5) / 3, 1000
    assert abs(found.informativeness - chance) < 5 * np.sqrt(chance * (1 - chance) / tests / 3)


def test_a_dimension_of_another_scale_or_order_is_as_good(
    rotated: Array, grid: Array, random: np.random.Generator
) -> None:
    codes = rotated + 0.1 * random.normal(size=rotated.shape)
    before = dci(codes, grid)
    after = dci(codes[:, [2, 0, 1]] * [100.0, -1.0, 0.01], grid[:, [1, 2, 0]])
    expected = before.importance[[2, 0, 1]][:, [1, 2, 0]]
    assert after.importance == pytest.approx(expected, abs=0.1)  # other trees
    assert after[:3] == pytest.approx(before[:3], abs=0.05)


def test_constant_factors_are_left_out(perfect: Array, grid: Array) -> None:
    found = dci(perfect, np.insert(grid, 1, 7, axis=1), **FEW)
    assert found[:3] == pytest.approx((1.0, 1.0, 1.0), abs=0.02)
    assert np.isnan(found.accuracy).tolist() == [False, True, False, False]
    assert found.importance[:, 1].tolist() == [0, 0, 0]


def test_constant_factors_do_not_make_a_code_look_cleaner(rotated: Array, grid: Array) -> None:
    found = dci(rotated, np.insert(grid, 3, 7, axis=1))
    assert found[:3] == pytest.approx(dci(rotated, grid)[:3])


def test_a_code_that_never_changes_is_worth_nothing(grid: Array) -> None:
    found = dci(np.zeros((len(grid), 2)), grid)
    assert found[:2] == (0.0, 0.0)


def test_one_dimension_is_complete(grid: Array) -> None:
    found = dci(grid[:, :1].astype(float), grid[:, :2], **FEW)
    assert found.completeness == pytest.approx(1.0)
