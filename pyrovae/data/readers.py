"""Readers of rows: of memory-mapped arrays, of HDF5 and the like, of data sets of PyTorch."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from pyrovae.data.kept_facts import KeptFacts
from pyrovae.data.sources import IN_MEMORY, Reader
from pyrovae.data.values import Array, as_numpy
from pyrovae.errors import DataError, reason

HELD = 2**28
"""Bytes of pages that a memory-mapped array may hold before they are given back."""

AROUND = 2**16
"""Bytes that the kernel maps around each row that is read."""

GIVE_BACK = getattr(mmap, "MADV_DONTNEED", None)


class MappedRows:
    """Rows of a memory-mapped array.

    Args:
        array: The array, or part of one.
    """

    def __init__(self, array: np.memmap[Any, Any]) -> None:
        self.shape, self.dtype = array.shape, array.dtype
        self._array = array
        self.facts = _facts_of(array)
        self._pages = getattr(array, "_mmap", None)
        self._touched = 0

    def read(self, index: Array) -> Array:
        """Rows at increasing indices; the pages that hold them are given back now and then."""
        rows = np.asarray(self._array[index])
        self._touched += min(rows.nbytes + len(index) * AROUND, self._array.nbytes)
        if self._touched > HELD and isinstance(self._pages, mmap.mmap) and GIVE_BACK is not None:
            # Else all that was ever read would count as memory of this process.
            self._pages.madvise(GIVE_BACK)
            self._touched = 0
        return rows


def _facts_of(array: np.memmap[Any, Any]) -> KeptFacts | None:
    """Where facts about a large array are kept, if it is all that is mapped."""
    is_whole = isinstance(array.base, mmap.mmap)  # that of a part is the whole array
    if not is_whole or array.filename is None or array.nbytes <= IN_MEMORY:
        return None
    which = f"{array.dtype.str} {array.shape} {array.strides} at byte {array.offset}"
    return KeptFacts(Path(array.filename), which)


class SlicedRows:
    """Rows of anything that can be sliced as an array, such as a data set of h5py or of zarr.

    Args:
        array: With ``shape`` and ``dtype``.
        name: Name of the data in messages.
        facts: Where facts about the rows are kept.
    """

    def __init__(self, array: Any, name: str, facts: KeptFacts | None = None) -> None:
        self.shape, self.dtype, self.facts = tuple(array.shape), np.dtype(array.dtype), facts
        self._array, self._name = array, name

    def read(self, index: Array) -> Array:
        """Rows at increasing indices, neighbours by one slice."""
        found = np.empty((len(index), *self.shape[1:]), self.dtype)
        place = 0
        for run in runs(index):
            with_end = place + run.stop - run.start
            try:
                found[place:with_end] = self._array[run]
            except (OSError, RuntimeError, ValueError) as error:
                raise unreadable(self._name, run.start, error) from error
            place = with_end
        return found


class ItemRows:
    """Rows of an object that gives one at a time, such as a data set of PyTorch.

    Args:
        items: With a length; gives arrays, tensors or images of one shape, or tuples that begin
            with one. The same index must give the same values at any time.
        name: Name of the data in messages.

    Raises:
        DataError: The first item is none of these, or there is none.
    """

    def __init__(self, items: Any, name: str) -> None:
        self._items, self._name = items, name
        if not len(items):
            raise DataError(f"{name} is empty: give at least 10 observations")
        first = self._row(0)
        if first.dtype.kind not in "biuf":
            raise DataError(
                f"{name}: item 0 holds values of type {first.dtype}: give numbers, as an array "
                "or a tensor, or as the first of a tuple"
            )
        self.shape, self.dtype = (len(items), *first.shape), first.dtype

    def read(self, index: Array) -> Array:
        """Rows at increasing indices, one by one."""
        found = np.empty((len(index), *self.shape[1:]), self.dtype)
        for place, i in enumerate(index.tolist()):
            row = self._row(i)
            if row.shape != self.shape[1:] or row.dtype != self.dtype:
                raise DataError(
                    f"{self._name}: item {i} has shape {row.shape} and type {row.dtype}, and item "
                    f"0 has {self.shape[1:]} and {self.dtype}: bring all items to one shape and "
                    "type"
                )
            found[place] = row
        return found

    def _row(self, i: int) -> Array:
        try:
            item = self._items[i]
        except Exception as error:  # of a user's own code
            raise unreadable(self._name, i, error) from error
        item = item[0] if isinstance(item, tuple | list) and len(item) else item
        return as_numpy(item) if isinstance(item, Tensor) else np.asarray(item)


class WholeRows:
    """Rows of whole numbers that are stored in a floating-point type."""

    def __init__(self, rows: Reader) -> None:
        self.shape, self.dtype = rows.shape, np.dtype(np.int64)
        self.rows = rows

    def read(self, index: Array) -> Array:
        """Rows at increasing indices."""
        return self.rows.read(index).astype(np.int64)


class ArrayRows:
    """Rows of an array in memory."""

    def __init__(self, array: Array) -> None:
        self.shape, self.dtype, self.array = array.shape, array.dtype, array

    def read(self, index: Array) -> Array:
        """Rows at increasing indices."""
        return self.array[index]


def runs(index: Array) -> list[slice]:
    """Increasing indices as slices of neighbours.

    Example:
        >>> runs(np.array([2, 3, 4, 9]))
        [slice(2, 5, None), slice(9, 10, None)]
    """
    if not len(index):
        return []
    breaks = np.flatnonzero(np.diff(index) != 1) + 1
    starts = index[np.concatenate([[0], breaks])]
    ends = index[np.concatenate([breaks - 1, [len(index) - 1]])] + 1
    return [slice(int(a), int(b)) for a, b in zip(starts, ends, strict=True)]


def unreadable(name: str, row: int, error: Exception) -> DataError:
    """Return the error for a row that cannot be read."""
    return DataError(
        f"{name}: observation {row} cannot be read ({reason(error)}): repair the data"
    )
