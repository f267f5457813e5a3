from __future__ import annotations

import numpy as np
import pytest
import torch

from pyrovae.exploration.disentanglement import mig
from pyrovae.exploration.disentanglement.latents_with_factors import Array


def test_a_perfect_code_has_a_gap_of_one(perfect: Array, grid: Array) -> None:
    found = mig(perfect, grid)
    assert found.score == pytest.approx(1.0)
    assert found.gaps == pytest.approx(np.ones(3))
    assert found.entropy == pytest.approx(np.log([3, 5, 5]))
    expected = np.zeros((3, 3))
    expected[[0, 1, 2], [2, 0, 1]] = found.entropy[[2, 0, 1]]
    assert found.information == pytest.approx(expected, abs=1e-9)


def test_noise_beside_a_perfect_code_changes_little(
    perfect: Array, grid: Array, noise: Array
) -> None:
    # Counts find (20 − 1)(5 − 1) / 2n nats of information in noise.
    bias = 19 * 4 / (2 * len(grid)) / np.log(5)
    found = mig(np.hstack([noise, perfect]), grid).score
    assert 1 - 5 * bias < found < 1


def test_two_dimensions_that_know_the_same_have_no_gap(rotated: Array, grid: Array) -> None:
    found = mig(rotated, grid)
    assert found.gaps == pytest.approx([1.0, 0.0, 0.0], abs=1e-9)
    assert (found.information[:2, 1:] > 0.4).all()  # each of the two knows of both factors


def test_a_copied_dimension_leaves_no_gap(perfect: Array, grid: Array) -> None:
    found = mig(np.hstack([perfect, -2 * perfect[:, :1]]), grid)
    assert found.gaps == pytest.approx([1.0, 1.0, 0.0])


def test_noise_has_no_gap(noise: Array, grid: Array) -> None:
    assert 0 <= mig(noise, grid).score < 19 * 4 / (2 * len(grid))


@pytest.mark.parametrize("seed", range(5))
def test_gaps_are_between_zero_and_one(grid: Array, seed: int) -> None:
    random = np.random.default_rng(seed)
    codes = np.tanh(grid @ random.normal(size=(3, 4))) + 0.1 * random.normal(size=(len(grid), 4))
    found = mig(codes, grid, count=500)
    assert ((found.gaps >= 0) & (found.gaps <= 1)).all()
    assert (found.information <= found.entropy + 1e-12).all()


def test_order_and_scale_mean_nothing(
    rotated: Array, grid: Array, random: np.random.Generator
) -> None:
    codes = rotated + 0.3 * random.normal(size=rotated.shape)
    before = mig(codes, grid)
    rows = random.permutation(len(grid))
    after = mig(codes[rows][:, [2, 0, 1]] * [4.0, -1.0, 0.01] + 7.0, grid[rows][:, [1, 2, 0]])
    assert after.score == pytest.approx(before.score, abs=2e-3)  # a value on the edge of a bin
    expected = before.information[[2, 0, 1]][:, [1, 2, 0]]
    assert after.information == pytest.approx(expected, abs=2e-3)


def test_information_of_a_noisy_bit_is_that_of_its_channel() -> None:
    bit, wrong = np.repeat([0, 1], 500), np.tile(np.arange(10) < 3, 100)  # wrong 3 times in 10
    entropy = -(0.3 * np.log(0.3) + 0.7 * np.log(0.7))
    found = mig((bit ^ wrong)[:, None].astype(float), bit[:, None])
    assert found.information.item() == pytest.approx(np.log(2) - entropy)
    assert found.score == pytest.approx(1 - entropy / np.log(2))  # the second best knows nothing


def test_bins_cannot_know_more_values_than_they_are() -> None:
    sizes = np.array([3, 6, 40, 32, 32])  # of dSprites
    factors = np.arange(9600)[:, None] % sizes
    found = mig(factors.astype(float), factors)
    most = np.diag(found.information) / found.entropy
    assert most[:3] == pytest.approx([1, 1, np.log(20) / np.log(40)])
    assert most.mean() == pytest.approx(0.90, abs=0.005)


def test_constant_factors_are_left_out(rotated: Array, grid: Array) -> None:
    found = mig(rotated, np.insert(grid, 1, 7, axis=1))
    assert found.score == mig(rotated, grid).score
    assert np.isnan(found.gaps).tolist() == [False, True, False, False]


def test_collapsed_dimensions_know_nothing(perfect: Array, grid: Array) -> None:
    found = mig(np.hstack([perfect, np.full((len(grid), 1), 0.3)]), grid)
    assert found.score == pytest.approx(1.0)
    assert found.information[3] == pytest.approx(np.zeros(3))


def test_another_seed_draws_other_data(noise: Array, grid: Array) -> None:
    def score(seed: int) -> float:
        return mig(torch.from_numpy(noise), torch.from_numpy(grid), seed=seed, count=300).score

    assert score(0) == score(0) != score(1)
