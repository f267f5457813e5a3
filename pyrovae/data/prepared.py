"""Data given in Python, as a split of what a model sees."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyrovae.data import anndata
from pyrovae.data.anndata import is_anndata
from pyrovae.data.arrays import channels_first
from pyrovae.data.batch import X_KNOWN
from pyrovae.data.contract import Contract
from pyrovae.data.dataset import Binarisation, Dataset
from pyrovae.data.named import in_memory
from pyrovae.data.sources import Source
from pyrovae.data.tables import FRAME, as_table, is_frame
from pyrovae.data.transforms import with_transforms
from pyrovae.data.values import Array, as_numpy, as_tensor, check_finite
from pyrovae.errors import DataError

CHUNK = 500
"""Observations that go through the programs at once."""

GIVEN = "the array"


def as_dataset(
    data: Any, contract: Contract, shape: Sequence[int] | None, layer: str | None = None
) -> Dataset:
    """A split as the model sees it, of a split as loaded, or of values that are so already.

    Args:
        data: A split, or an array, a tensor, a DataFrame or an AnnData object,
            ``(data, *shape)``; columns with names are matched to those of the model, where it has
            names too, and missing values of a DataFrame are not known.
        contract: The model's contract.
        shape: Shape of an observation of the model, if it is known; images may have their
            channels last, or be rows of values, as in a table.
        layer: Name of a layer of an AnnData object; its ``X`` by default.

    Raises:
        DataError: Data of another kind or shape, that are not finite, or lack a variable or a
            column.
    """
    if isinstance(data, Dataset):
        return contract.prepared(data)
    if isinstance(data, str | tuple):  # a name, or all three splits
        raise DataError(
            f"data of type {type(data).__name__}: give one split of the data, such as "
            "load_data(...).test, or an array"
        )
    if is_anndata(data):
        return contract.prepared(_of_layer(data, layer, contract))
    if layer is not None:
        raise DataError(f"layer = '{layer}' names a layer of an AnnData object: leave it out")
    variables: dict[str, Tensor] = {}
    columns: tuple[str, ...] = ()
    if is_frame(data):
        table = as_table(data, FRAME).arranged(contract.columns, FRAME)
        values, columns = table.x, table.columns
        if table.known is not None:
            variables[X_KNOWN] = as_tensor(_in_shape(table.known, shape))
    else:
        values = as_numpy(in_memory(data))
    if values.ndim < 2 or not len(values):
        raise DataError(
            f"{GIVEN} has shape {values.shape}: give a row for each observation, (data, *shape)"
        )
    if values.dtype.kind not in "biuf":
        raise DataError(f"{GIVEN} holds values of type {values.dtype}: give an array of numbers")
    x = _in_shape(values, shape).astype(np.float32)
    check_finite(x, GIVEN)
    found = _seen(GIVEN, as_tensor(x), contract)
    found = replace(found, variables=variables, columns=columns)
    return contract.prepared(_measured(found, contract) if is_frame(data) else found)


def _measured(data: Dataset, contract: Contract) -> Dataset:
    """Values with names of columns, which are as they were measured, as the model sees them."""
    named = replace(data, columns=data.columns or contract.columns, transforms={})
    return with_transforms(named, contract.transforms or {})


def _seen(name: str, x: Tensor | Source, contract: Contract) -> Dataset:
    """Values that are as the model sees them."""
    # Bits stay as they are: none are drawn of values that are taken for the model's own.
    kind: Binarisation = "none" if contract.binarisation == "none" else "threshold"
    rows, functions = torch.arange(len(x)), contract.transforms or {}
    return Dataset(name, x, rows, None, None, kind, transforms=functions)


def _of_layer(adata: Any, layer: str | None, contract: Contract) -> Dataset:
    """All observations of a layer, those of a large one as they lie."""
    rows, columns, counts, name = anndata.chosen(anndata.of_object(adata), layer)
    if anndata.fits_in_memory(rows):
        values = anndata.dense(rows).astype(np.float32)
        check_finite(values, name)
        found = _seen(name, as_tensor(values), contract)
    else:
        found = _seen(name, Source(rows, torch.float32), contract)
    return _measured(replace(found, columns=columns, counts=counts), contract)


def _in_shape(values: Array, shape: Sequence[int] | None) -> Array:
    if shape is None or values.shape[1:] == tuple(shape):
        return values
    if values.ndim == 2 and values.shape[1] == math.prod(shape):
        return values.reshape(-1, *shape)
    if values.ndim > 2 and (arranged := channels_first(values, GIVEN)).shape[1:] == tuple(shape):
        return arranged
    raise DataError(
        f"{GIVEN} has shape {values.shape}, and the model takes observations of shape "
        f"{tuple(shape)}: give (data, {', '.join(map(str, shape))})"
    )
