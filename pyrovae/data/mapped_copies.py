"""Values written once to an array beside their file, where rows cannot be read one by one.

To read rows in a random order, a whole group or chunk of them would be unpacked for each. A mapped
array gives them as they are, in the order of data in memory, and so with the same bits.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from pyrovae.data.values import Array
from pyrovae.errors import DataError, reason

logger = logging.getLogger("pyrovae")


def mapped_copy(
    path: Path, which: object, shape: tuple[int, ...], dtype: np.dtype[Any], parts: Iterable[Array]
) -> np.memmap[Any, Any]:
    """Values of a file, mapped from an array beside it, which is written if it is not there yet.

    The array has the date of the file, by which it is seen whether it is that of these values.

    Args:
        path: The file, or a folder with files.
        which: The values among those of the file.
        shape: Their shape.
        dtype: Their type; real numbers are written in single precision.
        parts: The values in order, some rows at a time.

    Raises:
        DataError: It cannot be written.
    """
    dtype = np.dtype(np.float32) if dtype.kind == "f" else dtype
    key = hashlib.sha256(repr((which, dtype.str)).encode()).hexdigest()[:8]
    target = path.with_name(f"{path.name}.{key}.npy")
    date = date_of(path)
    with _writing(target, path) as partial:
        if not target.exists() or target.stat().st_mtime_ns != date:
            logger.warning("%s: its values are written once, to %s", path, target.name)
            _write(partial, shape, dtype, parts)
            os.utime(partial, ns=(date, date))
            partial.replace(target)
    return np.load(target, mmap_mode="r")


def date_of(path: Path) -> int:
    """When a file, or the last of those in a folder, was changed, in nanoseconds."""
    files = [path] if path.is_file() else [path, *path.rglob("*")]
    return max(file.stat().st_mtime_ns for file in files)


@contextmanager
def _writing(target: Path, path: Path) -> Iterator[Path]:
    """Where one process at a time may write what becomes a file, and nothing is left over."""
    partial = target.with_name(f".{target.name}.part")
    try:
        with FileLock(target.with_name(f".{target.name}.lock")):
            try:
                yield partial
            finally:
                partial.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(
            f"{path}: its values cannot be written to {target} ({reason(error)}): copy it to "
            "where they can"
        ) from error


def _write(to: Path, shape: tuple[int, ...], dtype: np.dtype[Any], parts: Iterable[Array]) -> None:
    header = {"descr": dtype.str, "fortran_order": False, "shape": shape}
    with to.open("wb") as file, np.errstate(over="ignore"):  # found by the check of all values
        np.lib.format.write_array_header_1_0(file, header)
        for part in parts:
            file.write(np.ascontiguousarray(part, dtype).data)
