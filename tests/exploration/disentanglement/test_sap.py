from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from pyrovae.exploration.disentanglement import sap
from pyrovae.exploration.disentanglement.latents_with_factors import Array


@pytest.fixture
def bits(random: np.random.Generator) -> Array:
    """Three factors of two values."""
    return random.permutation(np.tile(np.indices((2, 2, 2)).reshape(3, -1).T, (500, 1)))


def test_bits_in_dimensions_of_their_own_are_told_by_one_and_guessed_by_others(
    bits: Array, random: np.random.Generator
) -> None:
    codes = np.hstack([bits[:, [1, 2, 0]] * 2.0 - 1, random.normal(size=(len(bits), 2))])
    found = sap(codes, bits)
    assert found.accuracy[[2, 0, 1], [0, 1, 2]] == pytest.approx(np.ones(3))
    assert found.gaps == pytest.approx(np.full(3, 0.5), abs=0.08)
    assert found.score == pytest.approx(found.gaps.mean())


def test_a_copied_dimension_leaves_no_gap(bits: Array) -> None:
    found = sap(np.hstack([bits, bits[:, :1]]) * 2.0 - 1, bits)
    assert found.gaps[0] == 0
    assert (found.gaps[1:] > 0.4).all()


def test_noise_has_hardly_a_gap(noise: Array, grid: Array) -> None:
    tests = len(grid) / 3
    assert 0 <= sap(noise, grid).score < 5 * np.sqrt(0.25 / tests)


def test_more_values_than_two_are_not_told_by_lines(perfect: Array, grid: Array) -> None:
    found = sap(perfect, grid)
    assert 0.2 < found.score < 0.8


def test_rare_values_count_as_much_as_frequent_ones(random: np.random.Generator) -> None:
    rare = (np.arange(9000) % 10 == 0).astype(int)[:, None]
    found = sap(rare * 2.0 - 1 + 2 * random.normal(size=rare.shape), rare)
    # Between the classes, and not where there is hardly one of the rare class beyond.
    assert found.accuracy.item() == pytest.approx(norm.cdf(0.5), abs=0.05)


def test_one_dimension_is_compared_with_one_that_says_nothing(bits: Array) -> None:
    found = sap(bits[:, :1] * 2.0 - 1, bits[:, :1])
    assert found.accuracy.shape == (1, 1)
    assert found.score == pytest.approx(0.5, abs=0.08)


def test_order_and_sign_mean_nothing(bits: Array, random: np.random.Generator) -> None:
    codes = bits @ random.normal(size=(3, 4)) + 0.3 * random.normal(size=(len(bits), 4))
    before, after = sap(codes, bits), sap(-codes[:, [3, 1, 0, 2]], bits[:, [2, 0, 1]])
    assert after.accuracy == pytest.approx(before.accuracy[[3, 1, 0, 2]][:, [2, 0, 1]], abs=1e-3)


def test_constant_factors_are_left_out(bits: Array) -> None:
    found = sap(bits * 2.0, np.insert(bits, 1, 7, axis=1))
    assert np.isnan(found.gaps).tolist() == [False, True, False, False]
    assert found.score == pytest.approx(sap(bits * 2.0, bits).score)
