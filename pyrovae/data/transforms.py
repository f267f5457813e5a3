"""Functions of values before a model sees them, such as the logarithm of a column."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from pyrovae.data.batch import X_KNOWN
from pyrovae.data.dataset import Dataset
from pyrovae.data.sources import Source, chunks_of
from pyrovae.errors import DataError

ALL = "*"
"""In place of a column: all values."""


class Transform(NamedTuple):
    """A function of each value.

    Attributes:
        function: From a tensor to one of its shape.
        domain: Values that it takes, in words.
    """

    function: Callable[[Tensor], Tensor]
    domain: str


TRANSFORMS: dict[str, Transform] = {
    "log": Transform(torch.log, "above 0"),
    "log1p": Transform(torch.log1p, "above -1"),
    "logit": Transform(torch.logit, "between 0 and 1"),
    "sqrt": Transform(torch.sqrt, "from 0 on"),
}


def with_transforms(data: Dataset, transforms: Mapping[str, str]) -> Dataset:
    """The same observations with functions of their values in their place.

    Values that are not known stay zero. Those in a file are changed when they are read.

    Args:
        data: Observations, with all that are stored.
        transforms: Names of ``TRANSFORMS``, by column, or of all values.

    Raises:
        DataError: A function has no finite value somewhere.
    """
    if not transforms:
        return data

    def change(rows: Tensor) -> Tensor:
        return _transformed(rows, data.columns, transforms)

    x, known = data.x, data.variables.get(X_KNOWN)
    changed = x.changed(change) if isinstance(x, Source) else change(x)
    if known is not None and isinstance(changed, Tensor):
        mask = known.reshape(known.shape + (1,) * (changed.ndim - known.ndim))
        changed = torch.where(mask, changed, 0.0)
    _require_finite(data, changed, transforms)
    return replace(data, x=changed, maximum=None, transforms=dict(transforms))


def require_same(data: Dataset, wanted: Mapping[str, str], model: str = "the model") -> None:
    """Refuse data whose values are other functions of those measured than a model's.

    Args:
        data: The data.
        wanted: Functions, by column, of the data that the model was fitted to.
        model: Name of the model in messages.

    Raises:
        DataError: They are others.
    """
    if data.transforms != wanted:
        raise DataError(
            f"{data.name} has {in_words(data.transforms)}, and {model} was fitted to data with "
            f"{in_words(wanted)}: name a data file (.toml) with the same [transforms]"
        )


def in_words(transforms: Mapping[str, str]) -> str:
    """Phrase about the functions of some data.

    Example:
        >>> in_words({"depth": "log", "ph": "sqrt"})
        'log of depth, sqrt of ph'
    """
    parts = (f"{name} of {'x' if key == ALL else key}" for key, name in transforms.items())
    return ", ".join(parts) if transforms else "values as they are"


def _transformed(x: Tensor, columns: Sequence[str], transforms: Mapping[str, str]) -> Tensor:
    """Functions of values by column, or of all, float32, of the shape of ``x``."""
    if ALL in transforms:
        return TRANSFORMS[transforms[ALL]].function(x.float())
    x = x.float().clone()
    for name, (function, _) in TRANSFORMS.items():
        places = [i for i, column in enumerate(columns) if transforms.get(column) == name]
        x[:, places] = function(x[:, places])
    return x


def _require_finite(data: Dataset, x: Tensor | Source, transforms: Mapping[str, str]) -> None:
    start = 0
    for part in chunks_of(x):
        if not (finite := part.isfinite()).all():
            row, *place = (int(i) for i in (~finite).nonzero()[0])
            column = ALL if ALL in transforms else data.columns[place[0]]
            name = transforms[column]
            value = data.x.index_select(0, torch.tensor([start + row]))[(0, *place)]
            where = tuple(place) if column == ALL else f"column {column}"
            raise DataError(
                f"{data.name} has {value:g} in observation {start + row} at {where}, and "
                f"{name} takes values {TRANSFORMS[name].domain}: choose another of its "
                "transforms, or leave the observation out"
            )
        start += len(part)
