"""NumPy files, read without unpickling; every failure becomes one sentence."""

from __future__ import annotations

import lzma
import os
import struct
import tokenize
import zipfile
import zlib
from pathlib import Path

import numpy as np
from numpy.lib.npyio import NpzFile

from pyrovae.data.sources import IN_MEMORY
from pyrovae.data.values import Array
from pyrovae.errors import DataError, reason

# What damage may make zipfile and NumPy raise: RuntimeError where an archive is encrypted,
# TokenError, TypeError and SyntaxError for headers, MemoryError and OverflowError for shapes.
UNREADABLE = (
    ArithmeticError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    lzma.LZMAError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


def read_npy(path: Path) -> Array:
    """Read the array in an ``.npy`` file, or map it into memory if it is large."""
    try:
        if path.stat().st_size > IN_MEMORY:
            return np.lib.format.open_memmap(path, mode="r")
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
    require_memory(archive, key, path)
    try:
        return np.asarray(archive[key])
    except UNREADABLE as error:
        raise unreadable(f"{path}:{key}", error) from error


def require_memory(archive: NpzFile, key: str, path: Path) -> None:
    """Refuse an array that would fill the memory of this machine when it is unpacked."""
    members = archive.zip.infolist() if archive.zip is not None else []
    size = max((m.file_size for m in members if m.filename in (key, f"{key}.npy")), default=0)
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if size > there:
        raise DataError(
            f"{path}:{key} takes {size / 1e9:.0f} GB, and this machine has {there / 1e9:.0f}: "
            "give fewer data"
        )


def unreadable(what: str, error: Exception) -> DataError:
    """Return the error for an array that cannot be read."""
    return DataError(
        f"{what} cannot be read ({reason(error)}): save it again as an array of numbers"
    )
