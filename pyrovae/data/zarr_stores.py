"""Zarr stores in folders, by zarr, which is imported when one is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pyrovae.data.datasets import unreadable
from pyrovae.errors import DataError


def open_zarr(path: Path) -> Any:
    """The group or the array that a store holds, to read.

    Raises:
        DataError: It cannot be read, or zarr is not installed.
    """
    try:
        import zarr  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise DataError(f"{path} is read by zarr: pip install zarr") from None
    try:
        return zarr.open(path, mode="r")
    except Exception as error:  # damage may make zarr raise anything
        raise unreadable(path, error) from error


def zarr_arrays(path: Path, store: Any) -> dict[str, Any]:
    """All arrays of an open store by their names, at any depth; the name of a single one is empty.

    Raises:
        DataError: It cannot be read.
    """
    if not hasattr(store, "members"):
        return {"": store}
    try:
        members = sorted(store.members(max_depth=None), key=lambda member: member[0])
    except Exception as error:  # as above
        raise unreadable(path, error) from error
    return {name: member for name, member in members if not hasattr(member, "members")}
