"""Atomic writes: a file is either unchanged or complete."""

from __future__ import annotations

import json
import math
import os
import re
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import xarray as xr


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Temporary file that atomically replaces another once it is complete."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.writing")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        if error.filename is None:  # as on a full disk
            raise OSError(error.errno, error.strerror or str(error), str(path)) from None
        raise
    finally:
        temporary.unlink(missing_ok=True)


def remove_temporary(folder: Path) -> None:
    """Remove what writers that were killed have left."""
    for file in folder.glob(".*.writing"):
        file.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file atomically."""
    with replaced(path) as temporary:
        temporary.write_bytes(content)


def save_tree(tree: xr.DataTree, path: Path) -> None:
    """Write a tree as a compressed netCDF file, which ``arviz.from_netcdf`` opens."""
    encoding = {
        node.path: {name: {"zlib": True} for name, values in node.data_vars.items() if values.ndim}
        for node in tree.subtree
    }
    with replaced(path) as temporary:
        tree.to_netcdf(temporary, engine="h5netcdf", encoding=encoding)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file; non-finite numbers become null."""
    text = json.dumps(known(content), indent=2, allow_nan=False, ensure_ascii=False)
    write_atomically(path, text.encode())


def known(content: Any) -> Any:
    """Replace each non-finite number by None.

    Example:
        >>> known({"khat": [0.5, float("inf")]})
        {'khat': [0.5, None]}
    """
    if isinstance(content, Mapping):
        return {key: known(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [known(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def file_name(name: str) -> str:
    """A name made safe as a file name.

    Example:
        >>> file_name("images.npz:train"), file_name("log p(x)")
        ('images.npz-train', 'log-p-x')
    """
    return re.sub(r"[^\w.-]+", "-", name).strip("-")
