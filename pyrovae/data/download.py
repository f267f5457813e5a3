"""Location of the files of a named data set, and their download."""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import shutil
import socket
import urllib.request
import uuid
from collections.abc import Iterable, Iterator
from http.client import HTTPException
from pathlib import Path

from pyrovae.errors import DataError

PATIENCE = 10.0
"""Time-out of a download in seconds."""

TRIES = 3
"""Attempts to download a file, of which a connection may give a part only."""

logger = logging.getLogger("pyrovae")


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
    logger.warning("downloads %s to %s", name, root)
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


def fetch(address: str, target: Path, md5: str) -> None:
    """Download a file, which has its name only once it is the one that is wanted.

    Raises:
        OSError: There is no connection, or it gave another file each time.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.part")
    failure: Exception = OSError("no attempt was made")
    try:
        for _ in range(TRIES):
            try:
                with urllib.request.urlopen(address) as response, partial.open("wb") as file:
                    shutil.copyfileobj(response, file)
            except (OSError, HTTPException) as error:
                failure = error
                continue
            with partial.open("rb") as file:
                found = hashlib.file_digest(file, "md5").hexdigest()
            if found == md5:
                partial.replace(target)
                return
            failure = OSError(f"its MD5 is {found}, that of the original {md5}")
    finally:
        partial.unlink(missing_ok=True)
    raise failure


def missing(name: str, root: Path, files: Iterable[str], why: str) -> DataError:
    """Return the message that lists the files of a data set and their folder."""
    paths = [root / file for file in files]
    names = ", ".join(path.name for path in paths)
    return DataError(
        f"{name} is not in {root} and {why}: put {names} into {paths[0].parent}, or name the "
        "folder that has them with --data-root (root= in Python)"
    )
