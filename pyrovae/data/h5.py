"""Datasets in HDF5 files, by h5py, which is imported when one is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pyrovae.data.dataset import Splits
from pyrovae.data.from_reader import from_reader
from pyrovae.data.readers import SlicedRows
from pyrovae.data.sources import IN_MEMORY
from pyrovae.errors import DataError, reason

LABELS = ("labels", "label", "y", "target")
"""Names of datasets of classes beside the observations."""


def read_h5(path: Path, key: str | None) -> dict[str, Any] | Splits:
    """Read the dataset ``key`` of a file, or the only one of several rows and axes.

    Whole numbers ``labels`` (or ``y`` or ``target``) beside it, one for each row, are the classes.
    Large ones stay in the file, and are split.

    Raises:
        DataError: The file cannot be read, or there is no such dataset, or a choice of several.
    """
    file = open_h5(path)
    found = datasets(file)
    chosen = only(found, path) if key is None else key.strip("/")
    if chosen not in found:
        raise DataError(f'{path} has no dataset "{chosen}": it holds {", ".join(found) or "none"}')
    array, name = found[chosen], path.name if key is None else f"{path.name}:{key}"
    labels = beside(array, chosen, found)
    if array.nbytes > IN_MEMORY:
        return from_reader(SlicedRows(array, str(path)), labels, name=name)
    try:
        values = array[()]
    except (OSError, RuntimeError, ValueError) as error:
        raise unreadable(path, error) from error
    return {"x": values, "labels": labels}


def open_h5(path: Path) -> Any:
    """Open a file to read.

    Raises:
        DataError: It is damaged, or no HDF5 file.
    """
    import h5py

    try:
        return h5py.File(path, "r")
    except (OSError, RuntimeError, ValueError) as error:
        raise unreadable(path, error) from error


def datasets(file: Any) -> dict[str, Any]:
    """All datasets of an open file by their names, at any depth."""
    import h5py

    found: dict[str, Any] = {}

    def see(name: str, member: Any) -> None:
        if isinstance(member, h5py.Dataset):
            found[name] = member

    file.visititems(see)
    return found


def only(found: dict[str, Any], path: Path) -> str:
    """Name of the only dataset of numbers with rows of values."""
    able = [name for name, array in found.items() if array.ndim > 1 and array.dtype.kind in "biuf"]
    if len(able) != 1:
        raise DataError(
            f"{path} holds {len(able)} datasets of rows: choose one of "
            f'{", ".join(able or found) or "none"} as in "{path.name}:{next(iter(able), "key")}"'
        )
    return able[0]


def beside(array: Any, chosen: str, found: dict[str, Any]) -> Any:
    """The classes in the group of a dataset, if there are any."""
    group = chosen.rpartition("/")[0]
    for label in LABELS:
        name = f"{group}/{label}".lstrip("/")
        labels = found.get(name)
        if labels is not None and name != chosen and labels.shape == array.shape[:1]:
            return labels[()] if labels.dtype.kind in "iu" else None
    return None


def unreadable(path: Path, error: Exception) -> DataError:
    """Return the error for a file that cannot be read."""
    return DataError(f"{path} cannot be read as HDF5 ({reason(error)}): save it again")
