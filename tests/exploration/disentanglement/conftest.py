"""Codes of which the scores are known."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from pyrovae.exploration.disentanglement.latents_with_factors import Array


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def grid(random: np.random.Generator) -> Array:
    """Every combination of three factors of 3, 5 and 5 values, 40 times, in random order."""
    combinations = np.array(list(product(range(3), range(5), range(5))))
    return random.permutation(np.tile(combinations, (40, 1)))


@pytest.fixture
def perfect(grid: Array) -> Array:
    """A dimension for each factor, in another order, of another scale, one upside down."""
    return grid[:, [2, 0, 1]] * np.array([1.0, -3.0, 0.5]) + 2.0


@pytest.fixture
def rotated(grid: Array) -> Array:
    """The two factors of five values, turned by 45 degrees; the third as it is."""
    a, b = grid[:, 1] - 2.0, grid[:, 2] - 2.0
    return np.stack([a + b, a - b, grid[:, 0]], 1) / np.sqrt(2)


@pytest.fixture
def noise(grid: Array, random: np.random.Generator) -> Array:
    """Five dimensions that say nothing."""
    return random.normal(size=(len(grid), 5))
