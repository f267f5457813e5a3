"""Where the files of a named data set lie, and how to ask the network for them."""

from __future__ import annotations

import contextlib
import io
import socket
from collections.abc import Iterable, Iterator
from http.client import HTTPException
from pathlib import Path

from pyrovae.errors import DataError

PATIENCE = 10.0
"""Seconds without an answer after which a download is given up."""


def find(name: str, root: Path, files: Iterable[str]) -> Path | None:
    """The first of ``root`` and ``root/name`` below which all ``files`` lie."""
    places = (root, root / name)
    return next(
        (place for place in places if all((place / file).exists() for file in files)), None
    )


@contextlib.contextmanager
def downloading(name: str, root: Path, files: Iterable[str], *, allowed: bool) -> Iterator[None]:
    """Run a download in silence and with limited patience; its failure becomes one sentence.

    Args:
        name: The data set.
        root: The folder it should be in.
        files: What the data set consists of, as paths below ``root``.
        allowed: Whether the network may be asked at all.

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
    """The sentence that says which files of a data set go where."""
    paths = [root / file for file in files]
    names = ", ".join(path.name for path in paths)
    return DataError(f"{name} is not in {root} and {why}: put {names} into {paths[0].parent}")
