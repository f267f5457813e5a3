"""Location of the files of a named data set, and their download."""

from __future__ import annotations

import contextlib
import io
import socket
from collections.abc import Iterable, Iterator
from http.client import HTTPException
from pathlib import Path

from pyrovae.errors import DataError

PATIENCE = 10.0
"""Time-out of a download in seconds."""


def find(name: str, root: Path, files: Iterable[str]) -> Path | None:
    """Return the first of ``root`` and ``root/name`` that holds all ``files``."""
    places = (root, root / name)
    return next(
        (place for place in places if all((place / file).exists() for file in files)), None
    )


@contextlib.contextmanager
def downloading(name: str, root: Path, files: Iterable[str], *, allowed: bool) -> Iterator[None]:
    """Run a download quietly and with a time-out; turn its failure into one sentence.

    Args:
        name: The data set.
        root: The folder it should be in.
        files: Files of the data set, as paths below ``root``.
        allowed: True if downloads are allowed.

    Raises:
        DataError: If it may not, or the download fails; says which files to put where.
    """
    if not allowed:
        raise missing(name, root, files, "may not be downloaded")
    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)
    silence = io.StringIO()
    try:
        with contextlib.redirect_stdout(silence), contextlib.redirect_stderr(silence):
            yield
    except (OSError, RuntimeError, HTTPException) as error:
        reason = str(error).strip().rpartition("\n")[2]
        raise missing(name, root, files, f"could not be downloaded ({reason})") from error
    finally:
        socket.setdefaulttimeout(patience)


def missing(name: str, root: Path, files: Iterable[str], why: str) -> DataError:
    """Return the message that lists the files of a data set and their folder."""
    paths = [root / file for file in files]
    names = ", ".join(path.name for path in paths)
    return DataError(
        f"{name} is not in {root} and {why}: put {names} into {paths[0].parent}, or name the "
        "folder that has them with --data-root (root= in Python)"
    )
