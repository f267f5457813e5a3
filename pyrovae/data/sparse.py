"""Rows of sparse matrices, made dense as they are read."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from pyrovae.data.readers import runs, unreadable
from pyrovae.data.sources import IN_MEMORY
from pyrovae.data.values import Array
from pyrovae.errors import DataError


def is_sparse(matrix: Any) -> bool:
    """True for a sparse matrix or array of SciPy, which need not be imported."""
    return hasattr(matrix, "nnz") and hasattr(matrix, "tocsr")


class Compressed(NamedTuple):
    """A matrix in a compressed format, in memory or in a file.

    Attributes:
        values: Values other than zero, row by row (CSR) or column by column (CSC).
        places: Column of each value, or row.
        starts: Where each row begins, or column, and the number of values at the end.
        shape: Number of rows and of columns.
        by_rows: True for CSR.
    """

    values: Any
    places: Any
    starts: Any
    shape: tuple[int, ...]
    by_rows: bool


def compressed(matrix: Any, name: str) -> Compressed | None:
    """A sparse matrix of SciPy, of AnnData or in an HDF5 group; None for what is none.

    Args:
        matrix: The matrix.
        name: Name of the data in messages.

    Raises:
        DataError: It is in another format than CSR and CSC.
    """
    if hasattr(matrix, "attrs") and hasattr(matrix, "keys"):
        return _in_group(matrix, name)
    if hasattr(matrix, "to_memory") and hasattr(matrix, "group"):  # of AnnData, in a file
        return _in_group(matrix.group, name)
    if not is_sparse(matrix):
        return None
    if matrix.format not in ("csr", "csc"):
        matrix = matrix.tocsr()
    by_rows = matrix.format == "csr"
    return Compressed(matrix.data, matrix.indices, matrix.indptr, matrix.shape, by_rows)


def _in_group(group: Any, name: str) -> Compressed:
    attributes = group.attrs
    kind = str(attributes.get("encoding-type", attributes.get("h5sparse_format", "")))
    if kind[:3] not in ("csr", "csc"):
        raise DataError(
            f"{name} is in the format '{kind or 'unknown'}': save it as an array, or as a matrix "
            "in CSR"
        )
    rows, columns = attributes.get("shape", attributes.get("h5sparse_shape"))
    values, places, starts = (_held(group[key]) for key in ("data", "indices", "indptr"))
    return Compressed(values, places, starts, (int(rows), int(columns)), kind[:3] == "csr")


def _held(part: Any) -> Any:
    """A dataset in memory, if it is not too large."""
    return part[()] if part.nbytes <= IN_MEMORY else part


class CompressedRows:
    """Rows of a matrix in a compressed format.

    Args:
        matrix: The matrix; one that is stored by columns (CSC) is turned in memory.
        name: Name of the data in messages.
    """

    def __init__(self, matrix: Compressed, name: str) -> None:
        if not matrix.by_rows:
            matrix = _by_rows(matrix)
        self.shape = matrix.shape
        self.values, self._places = matrix.values, matrix.places
        self.dtype = np.dtype(self.values.dtype)
        self._starts = np.asarray(matrix.starts[:], np.int64)
        self._name = name

    def read(self, index: Array) -> Array:
        """Rows at increasing indices; places that are doubled add up."""
        begins, ends = self._starts[index], self._starts[index + 1]
        rows = np.repeat(np.arange(len(index)), ends - begins)
        if isinstance(self.values, np.ndarray) and isinstance(self._places, np.ndarray):
            before = np.cumsum(ends - begins) - (ends - begins)
            at = np.arange(len(rows)) + np.repeat(begins - before, ends - begins)
            places, values = self._places[at], self.values[at]
        else:
            places, values = self._from_file(index)
        found = np.zeros((len(index), self.shape[1]), self.dtype)
        np.add.at(found.reshape(-1), rows * self.shape[1] + places, values)
        return found

    def _from_file(self, index: Array) -> tuple[Array, Array]:
        """Columns and values of rows, neighbours by one slice."""
        starts = self._starts
        neighbours = [slice(starts[r.start], starts[r.stop]) for r in runs(index)] or [slice(0)]
        try:
            places = np.concatenate([self._places[here] for here in neighbours])
            return places, np.concatenate([self.values[here] for here in neighbours])
        except (OSError, RuntimeError, ValueError) as error:
            raise unreadable(self._name, int(index[0]), error) from error


def _by_rows(matrix: Compressed) -> Compressed:
    """The rows of a matrix that is stored by columns."""
    rows, starts = np.asarray(matrix.places[:]), np.asarray(matrix.starts[:])
    columns = np.repeat(np.arange(matrix.shape[1]), np.diff(starts))
    order = np.argsort(rows, kind="stable")
    ends = np.cumsum(np.bincount(rows, minlength=matrix.shape[0]))
    values = np.asarray(matrix.values[:])[order]
    return Compressed(values, columns[order], np.append(0, ends), matrix.shape, by_rows=True)
