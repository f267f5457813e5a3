"""Further variables beside the observations: labels, covariates, masks, lengths."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch import Tensor

from pyrovae.data.batch import KNOWN
from pyrovae.data.values import Array, as_tensor, check_finite
from pyrovae.errors import DataError


def as_variables(arrays: Mapping[str, Array], count: int, source: str) -> dict[str, Tensor]:
    """Store variables as a program gets them.

    Real numbers become float32, integers int64; masks are booleans.

    Args:
        arrays: Arrays by name.
        count: Number of observations.
        source: Name of the data in messages.

    Raises:
        DataError: An array has another length, a mask another shape, or known values that are
            not finite numbers.
    """
    return {name: as_tensor(_stored(name, arrays, count, source)) for name in arrays}


def without_unknown(name: str, arrays: Mapping[str, Array], source: str) -> Array:
    """Values of a variable, zero where its mask says that they are not known.

    So a placeholder, or a NaN, has no effect.

    Args:
        name: Name of the variable.
        arrays: The variable and its mask, if there is one.
        source: Name of the data in messages.

    Raises:
        DataError: The mask has another shape than the variable, or is none.
    """
    values, known = arrays[name], arrays.get(name + KNOWN)
    if known is None:
        return values
    if known.shape not in (values.shape, values.shape[:1]):
        raise DataError(
            f"{source}: {name}{KNOWN} has shape {known.shape}, and {name} has {values.shape}: "
            f"give one true or false for each value, or for each row"
        )
    if not _is_mask(known):
        raise DataError(
            f"{source}: {name}{KNOWN} holds values of type {known.dtype}: give true or false, "
            "or 1 or 0"
        )
    return np.where(_beside(known, values.ndim), values, np.zeros((), values.dtype))


def _stored(name: str, arrays: Mapping[str, Array], count: int, source: str) -> Array:
    values = arrays[name]
    if values.ndim == 0 or len(values) != count:
        raise DataError(
            f"{source}: {name} has shape {values.shape}, and there are {count} observations: give "
            "one row for each"
        )
    if name.endswith(KNOWN) and _is_mask(values):
        return values.astype(np.bool_)
    values = without_unknown(name, arrays, source)
    match values.dtype.kind:
        case "b":
            return values
        case "i" | "u":
            return values.astype(np.int64)
        case "f":
            check_finite(values, f"{source}:{name}")
            return values.astype(np.float32)
        case _:
            raise DataError(
                f"{source}: {name} holds values of type {values.dtype}: give an array of numbers"
            )


def _is_mask(values: Array) -> bool:
    return values.dtype.kind in "biu" and bool(((values == 0) | (values == 1)).all())


def _beside(known: Array, ndim: int) -> Array:
    """A mask with as many axes as its variable."""
    return known.astype(np.bool_).reshape(known.shape + (1,) * (ndim - known.ndim))
