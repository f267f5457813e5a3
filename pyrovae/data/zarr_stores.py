"""Zarr stores in folders, by zarr, which is imported when one is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pyrovae.data.datasets import unreadable
from pyrovae.errors import DataError


def zarr_arrays(path: Path) -> dict[str, Any]:
    """All arrays of a store by their names, at any depth; the name of a single one is empty.

    Raises:
        DataError: It cannot be read, or zarr is not installed.
    """
    try:
        import zarr  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise DataError(f"{path} is read by zarr: pip install zarr") from None
    try:
        store = zarr.open(path, mode="r")
        if isinstance(store, zarr.Array):
            return {"": store}
        members = sorted(store.members(max_depth=None), key=lambda member: member[0])
    except Exception as error:  # damage may make zarr raise anything
        raise unreadable(path, error) from error
    return {name: member for name, member in members if isinstance(member, zarr.Array)}
