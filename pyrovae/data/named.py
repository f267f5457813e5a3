"""Data sets by name or by path."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyrovae.data import anndata, paths
from pyrovae.data.anndata import is_anndata, of_object
from pyrovae.data.arrays import Content
from pyrovae.data.dataset import Splits
from pyrovae.data.dsprites import read_dsprites
from pyrovae.data.from_reader import from_reader
from pyrovae.data.functions import is_function, returned
from pyrovae.data.own_splits import resplit, three_sources, warn_of_duplicates
from pyrovae.data.readers import ItemRows, MappedRows, SlicedRows
from pyrovae.data.roles import others_than_values, with_roles
from pyrovae.data.sources import Reader
from pyrovae.data.sparse import is_sparse
from pyrovae.data.splitting import permuted_rows
from pyrovae.data.splitting import split as split_rows
from pyrovae.data.tables import is_frame
from pyrovae.data.torchvision_files import read_image_set
from pyrovae.data.torchvision_sets import IMAGE_SETS
from pyrovae.data.values import Array, as_numbers, as_numpy
from pyrovae.errors import DataError, nearest
from pyrovae.specs.data import DataFile, is_data_file
from pyrovae.specs.split import Split

NAMES = ("digits", *IMAGE_SETS, "dsprites")


def load_data(
    source: Any = "digits",
    labels: Any = None,
    *,
    layer: str | None = None,
    split: Any = None,
    root: str | Path = "data",
    download: bool = True,
) -> Splits:
    """Load a data set by name or by path, or take an array, always split in the same way.

    A name is looked for in ``root`` and ``root/name``, and downloaded to ``root`` only if its
    files are in neither. Official test sets are kept, with the last sixth of the official
    training set for validation; other data are split by a fixed permutation. The global random
    stream is left untouched.

    Args:
        source: ``digits``, ``mnist``, ``fashion_mnist``, ``kmnist``, ``emnist``, ``omniglot``,
            ``cifar10``, ``svhn`` or ``dsprites``; or a path ``file.npy``, ``file.npz``,
            ``file.npz:key``, ``file.h5:dataset``, ``store.zarr:array`` (see
            :func:`~pyrovae.data.arrays.from_arrays` for its shape and type),
            ``file.csv`` or ``file.parquet`` (as a DataFrame, below), ``file.h5ad`` or
            ``file.h5ad:layer``, or to a folder of equally large images, whose sub-folders are the
            labels. Beside the observations an ``.npz`` file may hold integers ``labels`` (or ``y``
            or ``target``) ``(n,)``, and known factors of variation: integers ``factors``
            ``(n, factors)``, their names as strings ``factor_names`` ``(factors,)``. Or an array,
            a tensor, a list or a DataFrame of numbers, whose column names are kept and whose
            column ``label`` or ``labels`` is the classes;
            :func:`~pyrovae.data.arrays.from_arrays` takes more beside an array. Or an object with
            a length and rows by index, of any size, whose rows stay where they lie: a
            memory-mapped array, a dataset of h5py or zarr, a map-style dataset of PyTorch. Or an
            AnnData object or a sparse matrix of SciPy, whose rows become dense at once if they
            then take up to 1 GiB, else batch by batch. Or ``package.module:function``, a function
            that returns any of these. Or the path of a data file, ``wells.toml``, that says which
            of these are read, what their columns are, and their split
            (:class:`pyrovae.specs.data.DataSpec`). Splits are returned as they are.
        labels: Integer classes ``(n,)`` of an array or of AnnData, which by default has them in
            ``obs["label"]`` or ``obs["labels"]``.
        layer: Name of a layer of an AnnData object, or "raw"; its ``X`` by default. Whole numbers
            from 0 on are counts, also where they are stored as floating-point numbers.
        split: A split of your own: shares of training, validation and test data, as in
            ``(0.7, 0.1, 0.2)``, or a dictionary with keys of :class:`pyrovae.specs.split.Split`,
            as in ``{"group": "patient"}``.
        root: Folder of the named data sets.
        download: Allow the download of a named data set that is missing.

    Returns:
        Images ``(channels, height, width)`` or table rows ``(columns,)`` in three splits.

    Raises:
        DataError: If the data can be neither found nor downloaded, or are not usable.
        SpecError: The split is none.

    Example:
        >>> [len(split) for split in load_data("digits")]
        [1257, 180, 360]
    """
    if labels is not None and isinstance(source, Splits | str | Path):
        raise DataError(
            "labels are given beside data that may have their own: give labels= with an array"
        )
    if split is not None and isinstance(source, Splits):
        raise DataError(f"{source.name} is split already: give split= with data that are not")
    chosen = None if split is None else Split.of(split)
    file = DataFile.read(source) if is_data_file(source) else None
    if file is not None:
        chosen = chosen or file.split
        source = file.spec.source if source_is_named(file.spec.source) else file.source
    sources = [source]
    if chosen is not None and chosen.validation is not None:
        if labels is not None:
            raise DataError(
                "labels of one array of three: give pyrovae.data.from_splits all three"
            )
        sources += [chosen.validation, chosen.test]
    contents = [content(each, labels, root, download, layer) for each in sources]
    apart = () if chosen is None else chosen.names
    if file is not None:
        apart = (*apart, *others_than_values(contents[0].names, apart, file))
    if len(contents) > 1:
        data, beside = three_sources(contents, apart)
    else:
        data, beside = contents[0].splits(apart)
        data = data if chosen is None else resplit(data, chosen, beside)
    if file is not None:
        data = with_roles(data, beside, file)
    if chosen is not None or not (isinstance(source, Splits) or source_is_named(source)):
        warn_of_duplicates(data)
    return data


def source_is_named(source: Any) -> bool:
    """True for the name of a data set."""
    return isinstance(source, str) and source in NAMES


def is_no_path(source: Any) -> bool:
    """True for the name of a data set, and for a function that returns one."""
    return source_is_named(source) or is_function(source)


def content(
    source: Any, labels: Any, root: str | Path, download: bool, layer: str | None = None
) -> Content:
    """Content of a name, a path or an object in memory; arguments of :func:`load_data`."""
    if is_anndata(source):
        return anndata.content(of_object(source), layer, labels)
    if layer is not None:
        raise DataError(
            f"layer = '{layer}' names a layer of an AnnData object, and the data are of type "
            f"{type(source).__name__}: leave it out; of a file, write cells.h5ad:{layer}"
        )
    if isinstance(source, Splits):
        return Content(source, source.name)
    if is_frame(source):
        return Content(source, "DataFrame")
    if not isinstance(source, (str, Path)):
        if is_sparse(source):
            return anndata.rows_content(anndata.rows_of(source, "matrix"), labels, "matrix")
        if (reader := reader_of(source)) is not None:
            name = name_of(source)
            return Content(from_reader(reader, labels, name=name), name)
        return Content({"x": in_memory(source), "labels": labels}, "array")
    if source in NAMES:
        named = read_named(str(source), Path(root).expanduser(), download=download)
        return Content(named, str(source))
    if is_function(source):
        found = content(returned(str(source)), labels, root, download, layer)
        return found._replace(name=str(source))
    if paths.exists(source):
        return paths.read_path(source)
    raise DataError(unknown(str(source)))


def reader_of(source: Any) -> Reader | None:
    """Access to rows that are not in memory; None for what is no such object."""
    if isinstance(source, np.memmap):
        return MappedRows(source)
    in_memory = (np.ndarray, np.generic, Tensor, Mapping, list, tuple, str, bytes)
    if isinstance(source, in_memory) or hasattr(source, "iloc"):
        return None
    if not (hasattr(source, "__len__") and hasattr(source, "__getitem__")):
        return None
    name = name_of(source)
    if hasattr(source, "shape") and hasattr(source, "dtype"):
        return SlicedRows(source, name)
    return ItemRows(source, name)


def name_of(source: Any) -> str:
    """Name of the file that an array lies in, if it says so, or of its type."""
    file = getattr(source, "filename", None)  # of memory-mapped arrays
    return Path(str(file)).name if file else type(source).__name__


def in_memory(source: Any) -> Array | Tensor:
    """An array or a tensor as it is, or the numbers of a list.

    Raises:
        DataError: It is neither.
    """
    if isinstance(source, np.ndarray | Tensor):
        return source
    if isinstance(source, list):
        return as_numpy(as_numbers("the data", source))
    if isinstance(source, tuple):
        raise DataError("a tuple is given: give an array, and its classes by labels=")
    raise DataError(
        f"data of type {type(source).__name__} cannot be taken: give an array, a tensor or a "
        "DataFrame of numbers, with a row for each observation, the name or path of data, or an "
        "object with a length and rows by index; of a DataLoader, give its dataset"
    )


def read_named(name: str, root: Path, *, download: bool) -> Splits:
    """Read one of ``NAMES``."""
    match name:
        case "digits":
            return read_digits()
        case "dsprites":
            return read_dsprites(root, download=download)
        case _:
            return read_image_set(name, root, download=download)


def read_digits() -> Splits:
    """The 1797 handwritten digits ``(1, 8, 8)`` that come with scikit-learn, 70 to 10 to 20.

    References:
        Alpaydin and Kaynak (1998), *Optical Recognition of Handwritten Digits*.
    """
    from sklearn.datasets import load_digits

    digits: Any = load_digits()
    return split_rows(
        "digits",
        torch.from_numpy(digits.images.astype(np.uint8))[:, None],
        torch.from_numpy(digits.target.astype(np.int64)),
        rows=permuted_rows(len(digits.target), test_tenths=2),
        maximum=16.0,
    )


def unknown(source: str) -> str:
    """Return the error for what is neither a name nor a path, with the nearest name if any."""
    if Path(source).suffix or Path(source).name != source:
        return f"there is no file or folder '{source}'"
    return f"data '{source}' is neither a name nor a path; {nearest(source, NAMES)}"
