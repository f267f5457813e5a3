"""Arrays in memory: type and shape decide how observations are stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from pyrovae.data.batch import X_KNOWN
from pyrovae.data.dataset import KnownFactors, Splits
from pyrovae.data.splitting import permuted_rows, split
from pyrovae.data.tables import as_table, is_frame, without
from pyrovae.data.values import Array, as_numpy, as_tensor, check_finite
from pyrovae.data.variables import as_variables, without_unknown
from pyrovae.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

FEWEST = 10
"""Fewest observations that can be split; a tenth of fewer is no validation or test set."""


@runtime_checkable
class Divisible(Protocol):
    """Data that know how to split themselves."""

    @property
    def names(self) -> tuple[str, ...]:
        """As :attr:`Content.names`."""
        ...

    def splits(self, apart: Sequence[str] = ()) -> tuple[Splits, Mapping[str, Array]]:
        """As :meth:`Content.splits`."""
        ...


class Content(NamedTuple):
    """Data that are not split yet.

    Attributes:
        values: A DataFrame; or arguments of :func:`from_arrays` by name; or splits, as of a folder
            or a named data set; or a table that is not in memory.
        name: Name of the data in messages and reports.
        beside: Columns that are no values, by name.
        counts: Where the same data are counts, if these are real values; the end of a message.
    """

    values: Any
    name: str
    beside: Mapping[str, Array] = MappingProxyType({})
    counts: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns of a table, whether values or not; empty for other data."""
        if is_frame(self.values):
            return tuple(map(str, self.values.columns))
        return self.values.names if isinstance(self.values, Divisible) else ()

    def splits(self, apart: Sequence[str] = ()) -> tuple[Splits, Mapping[str, Array]]:
        """The data in the usual parts, and columns that are no values, by name.

        Args:
            apart: Names of such columns of a table.
        """
        if is_frame(self.values):
            frame, columns = without(self.values, apart, self.name)
            return from_frame(frame, self.name), columns
        if isinstance(self.values, Divisible):
            return self.values.splits(apart)
        found = self.values
        if not isinstance(found, Splits):
            found = from_arrays(**found, name=self.name)
        if self.counts:
            found = Splits(*(replace(part, counts=self.counts) for part in found))
        return found, self.beside


class Stored(NamedTuple):
    """Values as a data set keeps them, uint8 or float32, and the largest they can take."""

    values: Array
    maximum: float | None


def from_arrays(
    x: Array | Tensor,
    labels: Array | Tensor | None = None,
    *,
    factors: Array | Tensor | None = None,
    factor_names: Sequence[str] | None = None,
    variables: Mapping[str, Array | Tensor] | None = None,
    columns: Sequence[str] = (),
    name: str = "array",
    maximum: float | None = None,
) -> Splits:
    """Split an array in memory, 80 to 10 to 10 by a fixed permutation.

    ====================  =========  ====================================================
    values                stored as  maximum
    ====================  =========  ====================================================
    bool, uint8           uint8      1 if all are 0 or 1, else 255
    other integers        float32    the largest value; none if any is negative
    floating point        float32    1 for images within [0, 1], else none (real-valued)
    ====================  =========  ====================================================

    Args:
        x: Table ``(n, columns)``, grey images ``(n, height, width)``, or images
            ``(n, height, width, channels)`` or ``(n, channels, height, width)`` with 1 or 3
            channels. A contiguous uint8 or float32 array is used in place, not copied.
        labels: Integer classes ``(n,)``.
        factors: Known factors of variation ``(n, factors)``, each value an integer;
            ``pyrovae.exploration.factors`` scores latents against them.
        factor_names: Their names; by default "factor 1", "factor 2", ...
        variables: Further variables by name, with a row for each observation, which programs may
            take as arguments. Of ``x`` or a variable ``y``, values are unknown where ``x_known``
            or ``y_known`` is false, and whatever stands there has no effect.
        columns: Names of the columns of a table, by which other tables are matched to it.
        name: Name of the data in messages and reports.
        maximum: Largest intensity a value can take, if the table above guesses wrong.

    Raises:
        DataError: If there are fewer than ten observations, values that are not finite numbers
            or lie beyond ``maximum``, another number of axes, or labels, factors or names of
            columns that do not fit.
    """
    values = as_numpy(x)
    others = {key: as_numpy(value) for key, value in (variables or {}).items()}
    if (known := others.get(X_KNOWN)) is not None:
        values = without_unknown("x", {**others, "x": values}, name)
        if known.shape == values.shape:
            others[X_KNOWN] = with_channels_first(known, name)
    stored = store(with_channels_first(values, name), name)
    if maximum is not None:
        check_range(stored.values, maximum, name)
    n = len(stored.values)
    if columns and stored.values.shape[1:] != (len(columns),):
        raise DataError(
            f"{name} has {len(columns)} names of columns and observations of shape "
            f"{stored.values.shape[1:]}: give one name for each column of a table"
        )
    return split(
        name,
        as_tensor(stored.values),
        None if labels is None else as_labels(as_numpy(labels), n, name),
        rows=permuted_rows(n),
        maximum=stored.maximum if maximum is None else maximum,
        factors=None if factors is None else as_factors(as_numpy(factors), factor_names, n, name),
        variables=as_variables(others, n, name),
        columns=tuple(columns),
    )


def from_frame(frame: pd.DataFrame, name: str) -> Splits:
    """Split a DataFrame, as :func:`from_arrays`.

    Args:
        frame: A row for each observation. Numbers and truth values are the table; a column
            ``label`` or ``labels`` of whole numbers or strings is the classes. Missing values
            are not known, as by the variable ``x_known``.
        name: Name of the data in messages and reports.

    Raises:
        DataError: A column does not hold numbers, or as :func:`from_arrays`.
    """
    table = as_table(frame, name)
    variables = {} if table.known is None else {X_KNOWN: table.known}
    return from_arrays(
        table.x, table.labels, variables=variables, columns=table.columns, name=name
    )


def from_splits(
    train: Array | Tensor,
    validation: Array | Tensor,
    test: Array | Tensor,
    labels: Sequence[Array | Tensor] | None = None,
    *,
    name: str = "array",
    maximum: float | None = None,
) -> Splits:
    """Keep a split that is there already.

    Args:
        train: Training data, as for :func:`from_arrays`.
        validation: Validation data, of the same shape.
        test: Test data, of the same shape.
        labels: Integer classes of the three.
        name: Name of the data in messages and reports.
        maximum: Largest intensity that a value can take, if it is not the largest of all three.

    Raises:
        DataError: As :func:`from_arrays`; or a part is empty or has another shape.
    """
    parts = {
        part: as_numpy(values)
        for part, values in zip(Splits._fields, (train, validation, test), strict=True)
    }
    shape = parts["train"].shape[1:]
    for part, values in parts.items():
        if not len(values) or values.shape[1:] != shape:
            raise DataError(
                f"{name}: {part} has shape {values.shape}: give at least one observation of "
                f"shape {shape}, as in the training data"
            )
    whole = from_arrays(
        np.concatenate(list(parts.values())),
        None if labels is None else np.concatenate([as_numpy(part) for part in labels]),
        name=name,
        maximum=maximum,
    )
    rows = torch.arange(sum(map(len, parts.values()))).split([len(v) for v in parts.values()])
    return Splits(*(replace(whole.train, rows=part) for part in rows))


def with_channels_first(x: Array, name: str) -> Array:
    """As :func:`channels_first`, of enough observations."""
    arranged = channels_first(x, name)
    check_count(arranged, name)
    return arranged


def channels_first(x: Array, name: str) -> Array:
    """Bring ``x`` to ``(n, columns)`` or ``(n, channels, height, width)``."""
    match x.shape:
        case (_, _):
            return x
        case (_, _, _):
            return x[:, None]
        case (_, _, _, 1 | 3):
            return x.transpose(0, 3, 1, 2)
        case (_, 1 | 3, _, _):
            return x
        case _:
            raise DataError(
                f"{name} has shape {x.shape}: give a table (n, columns), grey images "
                f"(n, height, width), or images with 1 or 3 channels on the second or last axis"
            )


def check_count(x: Array, name: str) -> None:
    """Refuse sets without values, and sets too small to be split."""
    if x.size == 0:
        raise DataError(f"{name} is empty (shape {x.shape}): give at least {FEWEST} observations")
    if len(x) < FEWEST:
        raise DataError(f"{name} holds {len(x)} observations: give at least {FEWEST}")


def store(x: Array, name: str) -> Stored:
    """Choose the stored type of ``x`` and its largest intensity, from its type."""
    match x.dtype.kind:
        case "b":
            return Stored(x.view(np.uint8), 1.0)
        case "u" if x.dtype == np.uint8:
            return Stored(x, 1.0 if x.max() <= 1 else 255.0)
        case "i" | "u":
            return Stored(x.astype(np.float32), float(max(x.max(), 1)) if x.min() >= 0 else None)
        case "f":
            return store_floats(x, name)
        case _:
            raise DataError(f"{name} holds values of type {x.dtype}: give an array of numbers")


def store_floats(x: Array, name: str) -> Stored:
    """Keep real numbers in single precision, in which all must be finite."""
    with np.errstate(over="ignore"):
        values = x.astype(np.float32, copy=False)
    check_finite(values, name)
    is_unit_image = values.ndim == 4 and values.min() >= 0 and values.max() <= 1
    return Stored(values, 1.0 if is_unit_image else None)


def check_range(values: Array, maximum: float, name: str) -> None:
    """Refuse intensities that are negative or beyond the stated maximum."""
    smallest, greatest = float(values.min()), float(values.max())
    if maximum <= 0 or smallest < 0 or greatest > maximum:
        raise DataError(
            f"{name} has values from {smallest:g} to {greatest:g}, which do not fit the maximum "
            f"{maximum:g}: state a positive maximum that no value exceeds"
        )


def as_labels(labels: Array, n: int, name: str) -> Tensor:
    """Classes ``(n,)`` int64."""
    if labels.shape != (n,) or labels.dtype.kind not in "iu":
        raise DataError(
            f"{name} has labels of shape {labels.shape} and type {labels.dtype}: "
            f"give one integer for each of its {n} observations"
        )
    return torch.from_numpy(labels.astype(np.int64))


def as_factors(factors: Array, names: Sequence[str] | None, n: int, name: str) -> KnownFactors:
    """Known factors ``(n, factors)`` int64 and their names."""
    fits = factors.ndim == 2 and len(factors) == n and factors.size > 0
    if not fits or factors.dtype.kind not in "iu":
        raise DataError(
            f"{name} has factors of shape {factors.shape} and type {factors.dtype}: give an "
            f"integer for each of its {n} observations and each factor, ({n}, factors)"
        )
    count = factors.shape[1]
    if names is None:
        names = [f"factor {number}" for number in range(1, count + 1)]
    if len(names) != count or len(set(names)) != count:
        raise DataError(
            f"{name} has {count} factors and the names {', '.join(names) or '(none)'}: give each "
            "factor a name of its own"
        )
    return KnownFactors(tuple(map(str, names)), torch.from_numpy(factors.astype(np.int64)))
