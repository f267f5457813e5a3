"""Splits of observations that stay where they lie."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyrovae.data.arrays import as_labels, channels_first, with_channels_first
from pyrovae.data.dataset import Splits
from pyrovae.data.sources import Reader, Source, rows_at_once
from pyrovae.data.splitting import permuted_rows, split
from pyrovae.data.values import Array, as_numpy, as_tensor, check_finite
from pyrovae.errors import DataError


def from_reader(
    reader: Reader,
    labels: Array | Tensor | None = None,
    *,
    name: str,
    columns: Sequence[str] = (),
    maximum: float | None = None,
) -> Splits:
    """Split observations as :func:`~pyrovae.data.arrays.from_arrays` does, without loading them.

    Without ``maximum`` all values are read once, some at a time, since the largest is part of the
    model. Of a large file it is kept beside it.

    Args:
        reader: Access to the rows.
        labels: Integer classes ``(n,)``, kept in memory.
        name: Name of the data in messages and reports.
        columns: Names of the columns of a table.
        maximum: Largest intensity that a value can take, where it follows from how they are
            stored; all are then finite numbers from 0 on.

    Raises:
        DataError: As :func:`~pyrovae.data.arrays.from_arrays`.
    """
    if reader.dtype.kind not in "biuf":
        raise DataError(f"{name} holds values of type {reader.dtype}: give an array of numbers")
    with_channels_first(np.broadcast_to(np.uint8(0), reader.shape), name)
    n = reader.shape[0]
    is_bytes = reader.dtype.kind == "b" or reader.dtype == np.uint8
    source = Source(
        reader,
        torch.uint8 if is_bytes else torch.float32,
        [lambda rows: as_tensor(channels_first(rows.numpy(), name))],
        facts=getattr(reader, "facts", None),
    )
    if maximum is None:
        are_images = len(source.shape) == 4
        maximum = source.kept(
            f"largest intensity, {are_images=},", lambda: largest(reader, are_images, name)
        )
    return split(
        name,
        source,
        None if labels is None else as_labels(as_numpy(labels), n, name),
        rows=permuted_rows(n),
        maximum=maximum,
        columns=tuple(columns),
    )


def largest(reader: Reader, are_images: bool, name: str) -> float | None:
    """Largest intensity that a value can take, as of an array in memory.

    Raises:
        DataError: Values are not finite.
    """
    match reader.dtype.kind:
        case "b":
            return 1.0
        case "u" if reader.dtype == np.uint8:
            return 255.0 if any(part.max() > 1 for _, part in _parts(reader)) else 1.0
        case "i" | "u":
            extremes = [(part.min(), part.max()) for _, part in _parts(reader)]
            lowest, highest = min(low for low, _ in extremes), max(high for _, high in extremes)
            return float(max(highest, 1)) if lowest >= 0 else None
        case _:
            is_unit = are_images
            for start, part in _parts(reader):
                with np.errstate(over="ignore"):
                    values = part.astype(np.float32, copy=False)
                check_finite(values, name, start)
                is_unit = is_unit and values.min() >= 0 and values.max() <= 1
            return 1.0 if is_unit else None


def _parts(reader: Reader) -> Iterator[tuple[int, Any]]:
    """All rows in order, some at a time, each with the number of the first."""
    size, n = rows_at_once(reader.shape[1:]), reader.shape[0]
    for start in range(0, n, size):
        yield start, reader.read(np.arange(start, min(start + size, n)))
