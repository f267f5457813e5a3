"""Data that share the value of one factor."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pyrovae.exploration.disentanglement.latents_with_factors import Array, Coded

BATCH = 64
"""Observations, or pairs of them, in one input of a classifier."""

MOST_NUMBERS = 4_000_000
"""Most latent values gathered at once, which bounds memory."""


class Fixing:
    """Sampler of data in which a factor is fixed, with replacement.

    In data that hold every combination of factors equally often, such as dSprites, this is the
    same as drawing the other factors at random and rendering the observation.

    Args:
        factors: Factors of the stored data, ``(n, factors)``.
    """

    def __init__(self, factors: Array) -> None:
        self._groups = [groups(column) for column in factors.T]

    def same(self, random: np.random.Generator, rows: Array, factor: int) -> Array:
        """Draw for each row another with the same value of a factor; same shape."""
        order, start, size, member = self._groups[factor]
        group = member[rows]
        return order[start[group] + random.integers(size[group])]


def groups(values: Array) -> tuple[Array, Array, Array, Array]:
    """Rows sorted by their value, where each value starts, how many it has, and each row's."""
    _, member, size = np.unique(values, return_inverse=True, return_counts=True)
    start = np.concatenate([[0], np.cumsum(size)[:-1]])
    return np.argsort(member, kind="stable"), start, size, member


def observe(
    random: np.random.Generator,
    both: Coded,
    fixing: Fixing,
    count: int,
    summarise: Callable[[Array, int], Array],
) -> tuple[Array, Array]:
    """Draw batches in which one factor, chosen at random, is fixed, and summarise each.

    Args:
        random: Random number generator.
        both: Latents and factors.
        fixing: Sampler for these factors.
        count: Number of batches.
        summarise: Function of the rows ``(observations, BATCH)`` of any data, and of the factor
            that is to be fixed, that returns one vector of length ``dims`` for each batch.

    Returns:
        The vectors ``(count, dims)``, and the factor fixed in each ``(count,)``.
    """
    n, dims = both.codes.shape
    fixed = random.choice(both.varying, size=count)
    seen = np.empty((count, dims))
    for factor in both.varying:
        chosen = np.flatnonzero(fixed == factor)
        step = max(1, MOST_NUMBERS // (BATCH * dims))
        for first in range(0, len(chosen), step):
            part = chosen[first : first + step]
            seen[part] = summarise(random.integers(n, size=(len(part), BATCH)), factor)
    return seen, fixed
