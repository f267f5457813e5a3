"""AnnData in ``.h5ad`` files and zarr stores, in the format that anndata documents.

References:
    https://anndata.readthedocs.io/en/latest/fileformat-prose.html
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pyrovae.data.anndata import MAIN, RAW, Annotated, ByName
from pyrovae.data.h5 import open_h5
from pyrovae.data.values import Array
from pyrovae.errors import DataError

RAW_MATRIX = "raw/X"


def of_file(path: Path) -> Annotated:
    """The matrices of an ``.h5ad`` file, which stay in it.

    Raises:
        DataError: It cannot be read.
    """
    file = open_h5(path)
    if not is_annotated(file):
        raise DataError(f"{path} is no AnnData: it holds {', '.join(file) or 'nothing'}")
    return annotated(file, path.name)


def is_annotated(group: Any) -> bool:
    """True for a group that AnnData has written."""
    return _is_group(group) and {"obs", "var"} <= {*group}


def annotated(file: Any, name: str) -> Annotated:
    """The matrices in an open file or store, which stay in it.

    Args:
        file: Its group.
        name: Name of the data in messages and reports.
    """
    layers = {name: f"layers/{name}" for name in file.get("layers", ())}
    places = {MAIN: MAIN, RAW: RAW_MATRIX, **layers}
    names = [name for name in places if places[name] in file]

    def columns(name: str) -> tuple[str, ...]:
        return tuple(map(str, _index(file["raw/var" if places[name] == RAW_MATRIX else "var"])))

    obs = file["obs"] if _is_group(file["obs"]) else {}
    return Annotated(
        name,
        ByName(names, lambda name: file[places[name]]),
        columns,
        ByName(list(obs), lambda key: _column(obs[key])),
    )


def _is_group(member: Any) -> bool:
    return hasattr(member, "keys")


def _index(frame: Any) -> Array:
    """Names of the rows of a frame in a file."""
    if not _is_group(frame):  # of anndata before 0.7
        names = frame["index" if "index" in frame.dtype.names else frame.dtype.names[0]]
        return np.array([_text(name) for name in names])
    return _column(frame[_text(frame.attrs["_index"])])


def _column(member: Any) -> Array:
    """Values of a column in a file, None where they are missing."""
    if not _is_group(member):
        values = member[()]
        return np.array([*map(_text, values)]) if values.dtype.kind in "OS" else values
    if "categories" in member:
        kinds = [*_column(member["categories"]), None]  # -1 is missing, and the last
        return np.array(kinds, dtype=object)[member["codes"][()]]
    values = _column(member["values"]).astype(object)
    values[member["mask"][()]] = None
    return values


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value
