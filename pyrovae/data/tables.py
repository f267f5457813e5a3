"""DataFrames: their numbers, the names of their columns, and classes beside them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard

import numpy as np

from pyrovae.data.values import Array, classes
from pyrovae.errors import DataError, nearest

if TYPE_CHECKING:
    import pandas as pd

FRAME = "the DataFrame"
"""Name of a DataFrame in messages."""

LABELS = ("label", "labels")
"""Columns that are classes, not values."""


class Table(NamedTuple):
    """A DataFrame in numbers.

    Attributes:
        x: Values ``(n, columns)``; truth values are 0 and 1, and 0 stands for missing ones.
        known: False for missing values ``(n, columns)``; None if there are none.
        columns: Names of the columns; empty where they are only numbered.
        labels: Classes ``(n,)`` int64, if a column is named ``label`` or ``labels``.
    """

    x: Array
    known: Array | None
    columns: tuple[str, ...]
    labels: Array | None

    def arranged(self, columns: Sequence[str], name: str) -> Table:
        """The same table with the columns in the order in which a model knows them.

        Raises:
            DataError: See :func:`places`.
        """
        order = places(self.columns, columns, name)
        names = self.columns if isinstance(order, slice) else tuple(columns)
        known = None if self.known is None else self.known[:, order]
        return self._replace(x=self.x[:, order], known=known, columns=names)


def is_frame(data: Any) -> TypeGuard[pd.DataFrame]:
    """True for a DataFrame of pandas; pandas itself need not be imported."""
    return hasattr(data, "iloc") and hasattr(data, "columns")


def as_table(frame: pd.DataFrame, name: str) -> Table:
    """Values, names and classes of a DataFrame.

    Args:
        frame: A row for each observation.
        name: Name of the data in messages.

    Raises:
        DataError: Two columns have the same name, a column does not hold numbers or holds
            infinite ones, or the classes are neither whole numbers nor strings.
    """
    names = [str(column) for column in frame.columns]
    if twice := sorted({column for column in names if names.count(column) > 1}):
        raise DataError(f"{name} has several columns {', '.join(twice)}: give each its own name")
    label = label_of(names)
    labels = None
    if label is not None:
        labels = classes(objects(frame.iloc[:, names.index(label)]), f"{name}: column {label}")
    kept = {
        column: _of_its_own_type(frame.iloc[:, place])
        for place, column in enumerate(names)
        if column != label
    }
    if wrong := [key for key, column in kept.items() if column.dtype.kind not in "biuf"]:
        raise DataError(
            f"{name}: columns {', '.join(wrong)} do not hold numbers: leave them out, or encode "
            "them as numbers"
        )
    values = {key: _numbers(column) for key, column in kept.items()}
    if infinite := [key for key, column in values.items() if np.isinf(column).any()]:
        raise DataError(
            f"{name}: columns {', '.join(infinite)} hold infinite values: replace them, or leave "
            "them empty if they are not known"
        )
    x = np.stack(list(values.values()), 1) if values else np.empty((len(frame), 0))
    known = frame.iloc[:, [names.index(key) for key in kept]].notna().to_numpy()
    is_numbered = tuple(kept) == tuple(map(str, range(len(kept))))
    return Table(x, None if known.all() else known, () if is_numbered else tuple(kept), labels)


def label_of(names: Iterable[Any]) -> str | None:
    """Name of the column of the classes, if there is one."""
    found = {str(name) for name in names}
    return next((column for column in LABELS if column in found), None)


def without(
    frame: pd.DataFrame, apart: Sequence[str], name: str
) -> tuple[pd.DataFrame, dict[str, Array]]:
    """A DataFrame without some columns, and these by name; classes stay where they are.

    Args:
        frame: A row for each observation.
        apart: Names of the columns.
        name: Name of the data in messages.

    Raises:
        DataError: There is no such column.
    """
    names = [str(column) for column in frame.columns]
    for column in apart:
        if column not in names:
            raise DataError(f"split: {name} has no column '{column}'; {nearest(column, names)}")
    taken = [i for i, key in enumerate(names) if key in apart and key not in LABELS]
    kept = [i for i in range(len(names)) if i not in taken]
    columns = {names[i]: frame.iloc[:, i] for i in taken}
    return frame.iloc[:, kept], {key: objects(column) for key, column in columns.items()}


def objects(column: pd.Series) -> Array:
    """Values of a column of any type, None for those that are missing."""
    return column.astype(object).where(column.notna(), None).to_numpy()


def places(columns: Sequence[str], wanted: Sequence[str], name: str) -> list[int] | slice:
    """Index that puts columns into the order in which a model knows them.

    Columns that have no names, or a model that knows none, stay as they are.

    Args:
        columns: Names of the columns of the data.
        wanted: Names of the columns that the model was fitted to.
        name: Name of the data in messages.

    Raises:
        DataError: Columns are missing, or the model does not know some.
    """
    if not columns or not wanted or tuple(columns) == tuple(wanted):
        return slice(None)
    if missing := [column for column in wanted if column not in columns]:
        raise DataError(
            f"{name} lacks columns that the model was fitted to: add {', '.join(missing)}"
        )
    if unknown := [column for column in columns if column not in wanted]:
        raise DataError(
            f"{name} has columns that the model was not fitted to: leave out {', '.join(unknown)}"
        )
    place = {column: i for i, column in enumerate(columns)}
    return [place[column] for column in wanted]


def _of_its_own_type(column: pd.Series) -> pd.Series:
    """Whole numbers or truth values, which pandas stores as others where some are missing."""
    return column.convert_dtypes() if column.hasnans else column


def _numbers(column: pd.Series) -> Array:
    """Values of a column, 0 for those that are missing."""
    own: Any = column.dtype
    # Types of pandas' own know the one of NumPy.
    dtype: Any = np.uint8 if own.kind == "b" else getattr(own, "numpy_dtype", own)
    return column.to_numpy(dtype, na_value=0) if column.hasnans else column.to_numpy(dtype)
