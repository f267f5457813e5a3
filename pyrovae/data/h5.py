"""HDF5 files, by h5py, which is imported when one is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pyrovae.data.datasets import unreadable


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


def h5_datasets(path: Path) -> dict[str, Any]:
    """All datasets of a file by their names, at any depth.

    Raises:
        DataError: It cannot be read.
    """
    import h5py

    found: dict[str, Any] = {}

    def see(name: str, member: Any) -> None:
        if isinstance(member, h5py.Dataset):
            found[name] = member

    open_h5(path).visititems(see)
    return found
