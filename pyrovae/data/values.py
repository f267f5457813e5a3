"""Arrays of numbers: conversion to tensors, and checks."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyrovae.errors import DataError

Array = NDArray[Any]


def as_numpy(x: Array | Tensor) -> Array:
    """Values as a numpy array, in place if they can be."""
    if isinstance(x, Tensor):
        x = x.detach().cpu()
        return (x.float() if x.is_floating_point() else x).numpy()
    return np.asarray(x)


def as_tensor(values: Array) -> Tensor:
    """Values as a tensor, in place if they are contiguous and may be written to."""
    return torch.from_numpy(np.require(values, requirements=["C", "W"]))


def as_numbers(where: str, values: Any) -> Tensor:
    """An array or a list of numbers as a tensor.

    Raises:
        DataError: These are no numbers.
    """
    try:
        numeric = np.array(values)  # a copy, which may be written to
    except (ValueError, TypeError):  # rows of different lengths
        numeric = np.array(None)
    if numeric.dtype.kind not in "biuf":
        raise DataError(
            f"{where}: values of type {type(values).__name__}, which are not one array of "
            "numbers: give an array, a tensor or a list of numbers"
        )
    return torch.from_numpy(numeric)


def classes(values: Array, where: str) -> Array:
    """Whole numbers as they are, strings numbered in alphabetical order.

    Raises:
        DataError: Values are neither, or missing.
    """
    listed = values.tolist()
    found = np.asarray(listed)
    are_strings = found.dtype.kind == "U" and all(isinstance(value, str) for value in listed)
    if found.ndim != 1 or not (are_strings or found.dtype.kind in "iu"):
        raise DataError(
            f"{where} is taken for classes and holds neither whole numbers nor strings in every "
            "row: fill it, leave it out, or rename it"
        )
    return np.unique(found, return_inverse=True)[1] if are_strings else found


LARGEST = 1e18
"""Largest magnitude, whose square is a number in single precision, also in sums."""


def check_finite(values: Array, name: str, start: int = 0) -> None:
    """Refuse values that are not finite, or whose squares are not, saying where the first is.

    Args:
        values: A row for each observation.
        name: Name of the data in messages.
        start: Number of the first of these observations.
    """
    if (beyond := np.abs(values) > LARGEST).any() and np.isfinite(values).all():
        first = tuple(int(i) for i in np.unravel_index(int(beyond.argmax()), beyond.shape))
        raise DataError(
            f"{name} has the value {values[first]:g} in observation {start + first[0]} at "
            f"{first[1:]}, whose square is beyond single precision: replace it, or choose another "
            "unit"
        )
    finite = np.isfinite(values)
    if finite.all():
        return
    first = tuple(int(i) for i in np.unravel_index(int(finite.argmin()), finite.shape))
    raise DataError(
        f"{name} holds {finite.size - np.count_nonzero(finite)} values that are NaN or infinite "
        f"in single precision, the first in observation {start + first[0]} at {first[1:]}: "
        "replace them; values that are not known may be NaN in a DataFrame or .csv file, or false "
        "in an array x_known beside x in an .npz file"
    )
