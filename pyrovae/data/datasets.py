"""Datasets within an HDF5 file or a zarr store: which one is read, and how."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pyrovae.data.dataset import Splits
from pyrovae.data.from_reader import from_reader
from pyrovae.data.kept_facts import KeptFacts
from pyrovae.data.mapped_copies import mapped_copy
from pyrovae.data.readers import MappedRows, SlicedRows
from pyrovae.data.sources import IN_MEMORY, Reader, rows_at_once
from pyrovae.data.values import Array
from pyrovae.errors import DataError, reason

logger = logging.getLogger("pyrovae")

LABELS = ("labels", "label", "y", "target")
"""Names of datasets of classes beside the observations."""

FEW = 16
"""Rows of a chunk, at most, that may be unpacked for each row that is read."""


def read_dataset(path: Path, key: str | None, found: Mapping[str, Any]) -> dict[str, Any] | Splits:
    """Read the dataset ``key``, or the only one of several rows and axes.

    Whole numbers ``labels`` (or ``y`` or ``target``) beside it, one for each row, are the classes.
    Large ones stay where they lie, and are split.

    Args:
        path: The file, or the folder of a store.
        key: Name of the dataset.
        found: All datasets by name.

    Raises:
        DataError: There is no such dataset, or a choice of several, or it cannot be read.
    """
    chosen = only(found, path) if key is None else key.strip("/")
    if chosen not in found:
        raise DataError(f'{path} has no dataset "{chosen}": it holds {", ".join(found) or "none"}')
    array, name = found[chosen], path.name if key is None else f"{path.name}:{key}"
    labels = beside(array, chosen, found)
    if array.nbytes > IN_MEMORY:
        return from_reader(rows_of(array, path, chosen), labels, name=name)
    try:
        values = array[()]
    except (OSError, RuntimeError, ValueError) as error:
        raise unreadable(path, error) from error
    return {"x": values, "labels": labels}


def rows_of(array: Any, path: Path, name: str) -> Reader:
    """Rows of a dataset as they lie, or, if they lie in chunks of many, of a copy without chunks.

    Where no copy can be written, they are read as they lie.
    """
    facts = KeptFacts(path, name) if path.is_file() else None
    rows = SlicedRows(array, str(path), facts)
    if not array.chunks or array.chunks[0] <= FEW or rows.dtype.kind not in "biuf":
        return rows
    parts = _parts(rows, array.chunks)
    try:
        return MappedRows(mapped_copy(path, name, rows.shape, rows.dtype, parts))
    except DataError as error:
        logger.warning("%s. Until then each row that is read unpacks %d", error, array.chunks[0])
        return rows


def _parts(rows: SlicedRows, chunks: tuple[int, ...]) -> Iterator[Array]:
    """All rows in order, some at a time, whole chunks where that many fit."""
    size = rows_at_once(rows.shape[1:])
    size -= size % chunks[0] if size >= chunks[0] else 0
    for start in range(0, rows.shape[0], size):
        yield rows.read(np.arange(start, min(start + size, rows.shape[0])))


def only(found: Mapping[str, Any], path: Path) -> str:
    """Name of the only dataset of numbers with rows of values."""
    able = [name for name, array in found.items() if array.ndim > 1 and array.dtype.kind in "biuf"]
    if len(able) != 1:
        raise DataError(
            f"{path} holds {len(able)} datasets of rows: choose one of "
            f'{", ".join(able or found) or "none"} as in "{path.name}:{next(iter(able), "key")}"'
        )
    return able[0]


def beside(array: Any, chosen: str, found: Mapping[str, Any]) -> Any:
    """The classes in the group of a dataset, if there are any."""
    group = chosen.rpartition("/")[0]
    for label in LABELS:
        name = f"{group}/{label}".lstrip("/")
        labels = found.get(name)
        if labels is not None and name != chosen and labels.shape == array.shape[:1]:
            return labels[()] if labels.dtype.kind in "iu" else None
    return None


def unreadable(path: Path, error: Exception) -> DataError:
    """Return the error for a file or a store that cannot be read."""
    kind = "zarr" if path.suffix.lower() == ".zarr" else "HDF5"
    return DataError(f"{path} cannot be read as {kind} ({reason(error)}): save it again")
