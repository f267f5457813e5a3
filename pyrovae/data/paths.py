"""Data named by a path: an array or a table on disk, or a folder of images."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.npyio import NpzFile

from pyrovae.data import anndata
from pyrovae.data.arrays import Content
from pyrovae.data.batch import KNOWN
from pyrovae.data.dataset import Splits
from pyrovae.data.datasets import read_dataset
from pyrovae.data.folders import is_image, read_folder
from pyrovae.data.from_reader import from_reader
from pyrovae.data.h5 import h5_datasets
from pyrovae.data.h5ad import annotated, is_annotated, of_file
from pyrovae.data.large_tables import LargeTable, read_parquet
from pyrovae.data.npz import open_npz, read_member, read_npy
from pyrovae.data.readers import MappedRows
from pyrovae.data.table_files import read_frame
from pyrovae.data.values import Array
from pyrovae.data.zarr_stores import open_zarr, zarr_arrays
from pyrovae.errors import DataError
from pyrovae.specs.data import path_and_key

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger("pyrovae")

OBSERVATIONS = "x"
"""Name under which an ``.npz`` file keeps the observations beside further variables."""

LABEL_KEYS = ("labels", "y", "target")
"""Names under which an ``.npz`` file may keep the classes beside the observations."""

FACTORS_KEY, FACTOR_NAMES_KEY = "factors", "factor_names"
"""Names under which it may keep the known factors and their names."""


def exists(source: str | Path) -> bool:
    """Return True if ``source``, without the key of an array, exists on disk."""
    path, _ = path_and_key(source)
    return path.exists()


def read_path(source: str | Path) -> Content:
    """Read an array, a table or a folder of images.

    Args:
        source: ``file.npy``, ``file.npz``, ``file.npz:key``, ``file.h5``, ``file.h5:dataset``,
            ``file.h5ad``, ``file.h5ad:layer``, ``store.zarr``, ``store.zarr:array`` (of AnnData
            ``store.zarr:layer``), ``file.csv``,
            ``file.parquet`` or the folder.

    Raises:
        DataError: If the path is of another kind, or cannot be read.
    """
    path, key = path_and_key(source)
    name = path.name if key is None else f"{path.name}:{key}"
    if path.is_dir() and path.suffix.lower() == ".zarr":
        store = open_zarr(path)
        if is_annotated(store):
            return anndata.content(annotated(store, path.name), key)
        return Content(read_dataset(path, key, zarr_arrays(path, store)), name)
    if path.is_dir():
        return Content(read_folder(path), path.name)
    if not path.is_file():
        raise DataError(f"{path} is neither a file nor a folder: copy the data into a file")
    if is_image(path):
        raise DataError(f"{path} is a single image: give a folder of at least 10")
    if path.suffix.lower() == ".h5ad":
        return anndata.content(of_file(path), key)
    return Content(read_file(path, key), name)


def read_file(path: Path, key: str | None) -> pd.DataFrame | LargeTable | dict[str, Any] | Splits:
    """A table; arrays as arguments of :func:`~pyrovae.data.arrays.from_arrays`; or a large source.

    Raises:
        DataError: The file is of another kind, or cannot be read.
    """
    match path.suffix.lower():
        case ".npy":
            array = read_npy(path)
            if isinstance(array, np.memmap):
                return from_reader(MappedRows(array), name=path.name)
            return {"x": array}
        case ".h5" | ".hdf5":
            return read_dataset(path, key, h5_datasets(path))
        case ".npz":
            return read_npz(path, key)
        case ".parquet":
            return read_parquet(path)
        case ".csv":
            return read_frame(path)
        case _:
            raise DataError(
                f"{path} cannot be read as data: give an .npy, .npz, .h5, .h5ad, .csv or .parquet "
                "file, a .zarr store or a folder of images"
            )


def read_npz(path: Path, key: str | None) -> dict[str, Any]:
    """Read the array ``key``, or ``x``, or the only one, with what is beside it.

    Labels and factors are found by their names. Beside ``x`` all other arrays with as many rows
    are variables, which programs may take as arguments.
    """
    with open_npz(path) as archive:
        chosen = only_key(archive, path) if key is None else key
        x = read_member(archive, chosen, path)
        labels = labels_beside(x, chosen, archive, path)
        factors, names = factors_beside(chosen, archive, path)
        variables = variables_beside(len(x), archive, path) if chosen == OBSERVATIONS else None
    return {
        "x": x,
        "labels": labels,
        "factors": factors,
        "factor_names": names,
        "variables": variables,
    }


def only_key(archive: NpzFile, path: Path) -> str:
    """Name of the array ``x``, or of the only one; several others need a choice."""
    if OBSERVATIONS in archive.files:
        return OBSERVATIONS
    if len(archive.files) != 1:
        raise DataError(
            f"{path} holds {len(archive.files)} arrays: choose one of {', '.join(archive.files)} "
            f'as in "{path.name}:{next(iter(archive.files), "key")}"'
        )
    return str(archive.files[0])


def variables_beside(count: int, archive: NpzFile, path: Path) -> dict[str, Array]:
    """The arrays of numbers with a row for each observation, except for known factors.

    Masks are among them whatever their shape, to be checked.
    """
    apart = (OBSERVATIONS, FACTORS_KEY, FACTOR_NAMES_KEY)
    found = {key: read_member(archive, key, path) for key in archive.files if key not in apart}
    return {
        key: values
        for key, values in found.items()
        if key.endswith(KNOWN) or (values.shape[:1] == (count,) and values.dtype.kind in "biuf")
    }


def labels_beside(x: Array, chosen: str, archive: NpzFile, path: Path) -> Array | None:
    """First integer array of the same length that is named like labels."""
    for key in LABEL_KEYS:
        if key != chosen and key in archive.files:
            labels = read_member(archive, key, path)
            if labels.shape == x.shape[:1] and labels.dtype.kind in "iu":
                return require_int64(labels, f"{path}:{key}")
            logger.warning(
                "%s:%s is not taken as the classes: it has shape %s and type %s, and these would "
                "be whole numbers of shape %s",
                path,
                key,
                labels.shape,
                labels.dtype,
                x.shape[:1],
            )
    return None


def require_int64(labels: Array, where: str) -> Array:
    """Refuse whole numbers that would wrap round."""
    if labels.size and int(labels.max()) >= 2**63:
        raise DataError(f"{where} has the value {labels.max()}: number the classes from 0 on")
    return labels


def factors_beside(
    chosen: str, archive: NpzFile, path: Path
) -> tuple[Array | None, list[str] | None]:
    """The array of known factors and their names, as far as the file has them."""
    if chosen == FACTORS_KEY or FACTORS_KEY not in archive.files:
        return None, None
    factors = read_member(archive, FACTORS_KEY, path)
    if FACTOR_NAMES_KEY not in archive.files:
        return factors, None
    names = read_member(archive, FACTOR_NAMES_KEY, path)
    if names.ndim != 1 or names.dtype.kind != "U":
        raise DataError(
            f"{path}:{FACTOR_NAMES_KEY} has shape {names.shape} and type {names.dtype}: give one "
            "string for each factor"
        )
    return factors, names.tolist()
