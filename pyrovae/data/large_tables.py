"""Parquet files larger than memory: their values are written once to an array beside them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pyrovae.data.arrays import from_frame
from pyrovae.data.dataset import Splits
from pyrovae.data.from_reader import from_reader
from pyrovae.data.mapped_copies import mapped_copy
from pyrovae.data.readers import MappedRows
from pyrovae.data.sources import IN_MEMORY, VALUES
from pyrovae.data.table_files import PLACES, are_places, read_frame
from pyrovae.data.tables import as_table, label_of, without
from pyrovae.data.values import Array
from pyrovae.errors import DataError, reason

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger("pyrovae")


class MissingError(Exception):
    """Values of a table are missing."""


class LargeTable:
    """A ``.parquet`` file whose values are not in memory.

    Args:
        path: The file.
        file: The same, as pyarrow opened it.
    """

    def __init__(self, path: Path, file: Any) -> None:
        self._path, self._file = path, file
        self._rows: int = file.metadata.num_rows

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(map(str, self._first_row()))

    def splits(self, apart: Sequence[str] = ()) -> tuple[Splits, Mapping[str, Array]]:
        """The usual parts, as by :func:`~pyrovae.data.arrays.from_frame`, and columns apart.

        Which values are missing is kept in memory: where some are, all of them are read.

        Args:
            apart: Names of columns that are no values.

        Raises:
            DataError: As of a DataFrame; or the array cannot be written.
        """
        name = self._path.name
        first, _ = without(self._first_row(), apart, name)
        columns, table = [str(column) for column in first], as_table(first, name)
        try:
            array = self._array(columns, table.x)
        except MissingError:
            logger.warning("%s lacks values, and is read into memory", self._path)
            frame, beside = without(read_frame(self._path), apart, name)
            return from_frame(frame, name), beside
        label = label_of(columns)
        others = self._columns([*{*apart, *([] if label is None else [label])}])
        classes, beside = without(others, apart, name)
        labels = as_table(classes, name).labels
        return from_reader(MappedRows(array), labels, name=name, columns=table.columns), beside

    def _first_row(self) -> pd.DataFrame:
        """The first row, without places that ``reconstruct`` wrote."""
        first = next(self._frames(None, 1))
        is_result = list(first.columns[:2]) == PLACES and are_places(self._columns(PLACES[:1]))
        return first.drop(columns=PLACES) if is_result else first

    def _array(self, columns: Sequence[str], first: Array) -> np.memmap[Any, Any]:
        """Values of these columns, mapped from a copy of them.

        Args:
            columns: Names of the columns, that of the classes among them.
            first: Values of the first row.

        Raises:
            DataError: It cannot be written.
            MissingError: Values are missing.
        """
        shape = (self._rows, first.shape[1])
        return mapped_copy(self._path, columns, shape, first.dtype, self._parts(columns))

    def _parts(self, columns: Sequence[str]) -> Iterator[Array]:
        """Values of all rows in their order, some at a time.

        Raises:
            MissingError: Values are missing.
        """
        for frame in self._frames(columns, max(1, VALUES // 8 // len(columns))):
            table = as_table(frame, self._path.name)
            if table.known is not None:
                raise MissingError
            yield table.x

    def _columns(self, names: Sequence[str]) -> pd.DataFrame:
        """All rows of some columns."""
        with self._reading():
            return self._file.read(columns=names).to_pandas()

    def _frames(self, columns: Sequence[str] | None, size: int) -> Iterator[pd.DataFrame]:
        """All rows in their order, some at a time."""
        with self._reading():
            for batch in self._file.iter_batches(size, columns=columns):
                yield batch.to_pandas()

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Say in one sentence that the file cannot be read."""
        try:
            yield
        except Exception as error:  # damage may make pyarrow raise anything
            raise DataError(
                f"{self._path} cannot be read ({reason(error)}): save it again"
            ) from error


def read_parquet(path: Path) -> pd.DataFrame | LargeTable:
    """Read a table; above 1 GiB of values, in float32, return what splits it.

    Raises:
        DataError: The file cannot be read.
    """
    try:
        from pyarrow.parquet import ParquetFile  # pyright: ignore[reportMissingImports]

        file = ParquetFile(path, pre_buffer=False)  # else it keeps what was read
    except Exception:  # what is wrong is said where all of it is read
        return read_frame(path)
    is_large = 4 * file.metadata.num_rows * file.metadata.num_columns > IN_MEMORY
    return LargeTable(path, file) if is_large else read_frame(path)
