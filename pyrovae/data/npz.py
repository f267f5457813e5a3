"""NumPy files, read without unpickling; every failure becomes one sentence."""

from __future__ import annotations

import lzma
import zipfile
import zlib
from pathlib import Path

import numpy as np
from numpy.lib.npyio import NpzFile

from pyrovae.data.values import Array
from pyrovae.errors import DataError

UNREADABLE = (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error, lzma.LZMAError)


def read_npy(path: Path) -> Array:
    """Read the array in an ``.npy`` file."""
    try:
        with path.open("rb") as file:
            return np.lib.format.read_array(file, allow_pickle=False)
    except UNREADABLE as error:
        raise unreadable(str(path), error) from error


def open_npz(path: Path) -> NpzFile:
    """Open an ``.npz`` file, a context that reads its arrays only when asked for them."""
    if not zipfile.is_zipfile(path):
        raise DataError(f"{path} is not an .npz file, or a damaged one: save it again")
    try:
        archive: NpzFile = np.load(path, allow_pickle=False)
    except UNREADABLE as error:
        raise unreadable(str(path), error) from error
    return archive


def read_member(archive: NpzFile, key: str, path: Path) -> Array:
    """Read one array of an open ``.npz`` file."""
    if key not in archive.files:
        raise DataError(f'{path} has no array "{key}": it holds {", ".join(archive.files)}')
    try:
        return np.asarray(archive[key])
    except UNREADABLE as error:
        raise unreadable(f"{path}:{key}", error) from error


def unreadable(what: str, error: Exception) -> DataError:
    """Return the error for an array that cannot be read."""
    return DataError(f"{what} cannot be read ({error}): save it again as an array of numbers")
