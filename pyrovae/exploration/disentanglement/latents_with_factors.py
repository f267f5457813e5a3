"""Latents of data, with their known factors."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pyrovae.data.values import as_numpy
from pyrovae.errors import DataError

Array = NDArray[Any]

FEWEST = 50
"""Fewest observations with which a classifier of a factor can be fitted and tested."""


class Coded(NamedTuple):
    """Latents and factors of the same data.

    Attributes:
        codes: ``(n, dims)``, real numbers.
        factors: ``(n, factors)``, integers.
    """

    codes: Array
    factors: Array

    @property
    def varying(self) -> list[int]:
        """Indices of the factors that take more than one value; the others have no score."""
        return np.flatnonzero(self.factors.min(0) < self.factors.max(0)).tolist()

    def take(self, rows: Array) -> Coded:
        """Select some of the data, with latents in double precision."""
        return Coded(self.codes[rows].astype(np.float64), self.factors[rows])

    def sample(self, random: np.random.Generator, count: int) -> Coded:
        """Draw ``count`` of the data without replacement; all of them if there are fewer."""
        n = len(self.codes)
        return self.take(random.choice(n, size=min(count, n), replace=False, shuffle=False))

    def halves(self, random: np.random.Generator, train: int, test: int) -> tuple[Coded, Coded]:
        """Draw data for fitting and for testing; if there are too few, in the same ratio."""
        n = len(self.codes)
        if n < train + test:
            train = round(n * train / (train + test))
            test = n - train
        rows = random.choice(n, size=train + test, replace=False)
        return self.take(rows[:train]), self.take(rows[train:])


def coded(codes: Array | Tensor, factors: Array | Tensor) -> Coded:
    """Validate latents ``(n, dims)`` and factors ``(n, factors)``.

    Raises:
        DataError: They are not two tables of as many rows, there are fewer than 50 data, a latent
            is not finite, a factor is no integer or has hardly a value twice, or none varies.
    """
    both = Coded(as_numpy(codes), as_numpy(factors))
    shapes = both.codes.shape, both.factors.shape
    if any(len(shape) != 2 or 0 in shape for shape in shapes) or shapes[0][0] != shapes[1][0]:
        raise DataError(
            f"codes of shape {shapes[0]} and factors of shape {shapes[1]} do not go together: "
            "give (data, dims) and (data, factors)"
        )
    n = len(both.codes)
    if n < FEWEST:
        raise DataError(f"{n} data are too few to measure disentanglement: give at least {FEWEST}")
    finite = np.isfinite(both.codes).all(1)
    if not finite.all():
        raise DataError(
            f"the codes of {n - np.count_nonzero(finite)} of {n} data are not finite: the model "
            "has diverged; train it again with a smaller learning rate"
        )
    check_factors(both)
    return both


def check_factors(both: Coded) -> None:
    """Refuse factors that are not classes."""
    n = len(both.factors)
    if both.factors.dtype.kind not in "iu":
        raise DataError(f"factors are of type {both.factors.dtype}: give the class as an integer")
    if not both.varying:
        raise DataError("no factor takes more than one value: give data in which one does")
    for factor in both.varying:
        values = len(np.unique(both.factors[:, factor]))
        if values > n / 2:
            raise DataError(
                f"factor {factor + 1} takes {values} values in {n} data, hardly one of them "
                "twice: group its values into classes"
            )
