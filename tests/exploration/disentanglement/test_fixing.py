from __future__ import annotations

import numpy as np
import pytest

from pyrovae.exploration.disentanglement import beta_vae, factor_vae
from pyrovae.exploration.disentanglement.fixed_factor import Fixing
from pyrovae.exploration.disentanglement.latents_with_factors import Array

FEW = {"train": 2000, "test": 2000}


def scores(codes: Array, factors: Array, seed: int = 0) -> tuple[float, float]:
    return (
        factor_vae(codes, factors, seed=seed, **FEW).score,
        beta_vae(codes, factors, seed=seed, **FEW),
    )


def test_partners_share_the_factor_and_are_any_of_those_that_do(
    random: np.random.Generator,
) -> None:
    factors = np.stack([np.array([5, -1, 5, 9, -1, 5]), np.arange(6) % 2], 1)
    fixing = Fixing(factors)
    rows = random.integers(6, size=(2000, 3))
    for factor in (0, 1):
        partners = fixing.same(random, rows, factor)
        assert (factors[partners, factor] == factors[rows, factor]).all()
    share = np.bincount(fixing.same(random, np.full(3000, 2), 0), minlength=6) / 3000
    error = np.sqrt(1 / 3 * 2 / 3 / 3000)
    assert share == pytest.approx(np.array([1, 0, 1, 0, 0, 1]) / 3, abs=5 * error)


def test_a_perfect_code_has_the_best_scores(perfect: Array, grid: Array, noise: Array) -> None:
    assert scores(perfect, grid) == (1.0, 1.0)
    assert scores(np.hstack([noise, perfect]), grid) == pytest.approx((1.0, 1.0), abs=0.01)


def test_copies_do_not_hurt(perfect: Array, grid: Array) -> None:
    assert scores(np.hstack([perfect, perfect[:, :2]]), grid) == (1.0, 1.0)


def test_what_is_entangled_cannot_be_told(rotated: Array, grid: Array) -> None:
    # The third factor is told, and one of the other two guessed.
    expected = 1 / 3 + 2 / 3 / 2
    error = np.sqrt(expected * (1 - expected) / 2000)
    assert scores(rotated, grid) == pytest.approx((expected, expected), abs=5 * error)


def test_noise_is_at_chance(noise: Array, grid: Array) -> None:
    error = np.sqrt(1 / 3 * 2 / 3 / 2000)
    assert scores(noise, grid) == pytest.approx((1 / 3, 1 / 3), abs=5 * error + 0.03)


def test_one_factor_may_be_missing_in_pairs_but_not_in_votes(perfect: Array, grid: Array) -> None:
    # Kim and Mnih (2018), section 4: the reason for another score than that of β-VAE.
    votes, pairs = scores(perfect[:, :2], grid)
    assert pairs > 0.97
    assert votes < 0.75


def test_order_and_scale_mean_nothing_to_votes(
    rotated: Array, grid: Array, random: np.random.Generator
) -> None:
    codes = rotated @ random.normal(size=(3, 4)) + 0.3 * random.normal(size=(len(grid), 4))
    before = factor_vae(codes, grid, **FEW)
    scaled = codes[:, [3, 1, 0, 2]] * [4.0, -1.0, 10.0, 0.7] + 5.0
    after = factor_vae(scaled, grid, **FEW)  # the same random numbers
    assert after.score == before.score
    assert (after.votes == before.votes[[3, 1, 0, 2]]).all()


def test_votes_are_shares(rotated: Array, grid: Array) -> None:
    votes = factor_vae(rotated, np.insert(grid, 1, 7, axis=1), **FEW).votes
    assert np.isnan(votes[:, 1]).all()
    assert votes[:, [0, 2, 3]].sum(0) == pytest.approx(np.ones(3))
    assert votes[2, 0] == 1


def test_votes_are_foretold_by_others_than_themselves(perfect: Array, grid: Array) -> None:
    # From a single vote one dimension's factor is known; of the rest one may be right by luck.
    assert factor_vae(perfect, grid, train=1, test=1000).score < 0.8


def test_collapsed_dimensions_have_no_vote(perfect: Array, grid: Array, noise: Array) -> None:
    collapsed = perfect / perfect.std(0) * 0.049
    with_noise = factor_vae(np.hstack([collapsed, noise]), grid, **FEW)
    assert with_noise.active.tolist() == [False] * 3 + [True] * 5
    assert with_noise.score < 0.5
    assert factor_vae(collapsed, grid, **FEW).score == 0
    assert factor_vae(collapsed * 1.05, grid, **FEW).score == 1


def test_chunks_do_not_show(
    perfect: Array, grid: Array, noise: Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pyrovae.exploration.disentanglement.fixed_factor.MOST_NUMBERS", 10_000)
    assert scores(np.hstack([noise, perfect]), grid) == pytest.approx((1.0, 1.0), abs=0.01)


def test_constant_factors_are_left_out(perfect: Array, grid: Array) -> None:
    assert scores(perfect, np.insert(grid, 1, 7, axis=1)) == (1.0, 1.0)
