"""Names and units in which the variables of data that are no images are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator
from torch import Tensor

from pyrovae.data import Batch, Dataset
from pyrovae.data.batch import X_KNOWN
from pyrovae.data.examples import evenly
from pyrovae.evaluation.batches import observations

MOST_VARIABLES = 40
"""Most columns of a table that can be told apart in a picture."""

MOST_ROWS = 2000
"""Most observations from which units are computed."""

LARGE_COUNT = 20
"""Tables of whole numbers up to more than this are drawn on a logarithmic axis."""


@dataclass(frozen=True, eq=False)
class Variables:
    """The variables of observations, as they are drawn from left to right.

    The columns of a table have different units: each is drawn in its own standard deviations.
    Counts with a large range are drawn as they are, on an axis that is logarithmic from 1 on. All
    else has one unit: the values of an array, of bits, and of a single column.

    Attributes:
        shape: Shape of an observation.
        centre: Value at which each variable is zero in the picture, ``(variables,)``.
        scale: Its unit, ``(variables,)``.
        counts: True if the axis is logarithmic.
        columns: Names of a table's columns, if they are known.
    """

    shape: Sequence[int]
    centre: Tensor
    scale: Tensor
    counts: bool
    columns: Sequence[str] = ()

    @property
    def are_columns(self) -> bool:
        """True for a table, whose columns have no order."""
        return len(self.shape) == 1

    @property
    def shown(self) -> int:
        """Number of variables drawn: all of an array, the first ones of a table."""
        count = len(self.centre)
        return min(count, MOST_VARIABLES) if self.are_columns else count

    @property
    def places(self) -> Tensor:
        """Their places on the horizontal axis."""
        return torch.arange(self.shown)

    @property
    def few(self) -> bool:
        """True if there is room for large markers."""
        return self.shown <= MOST_VARIABLES

    @property
    def unit(self) -> str:
        """Unit of the vertical axis."""
        standardised = bool((self.scale != 1).any() or (self.centre != 0).any())
        return "value, in sd of the column" if standardised else "value"

    @property
    def label(self) -> str:
        """Label of the horizontal axis."""
        count = len(self.centre)
        return "variable" + (f", the first {self.shown} of {count}" if self.shown < count else "")

    def values(self, rows: Tensor) -> Tensor:
        """Values to draw, ``(..., shown)``, of observations ``(..., variables)``."""
        return ((rows.double() - self.centre) / self.scale)[..., : self.shown]

    def tick(self, axes: Axes) -> None:
        """Name variables on the horizontal axis, and choose the scale of the vertical one."""

        def name(place: float, _: int | None = None) -> str:
            here = 0 <= place < self.shown and place == int(place)
            return named(self.shape, int(place), self.columns) if here else ""

        axes.set_xlim(-0.5, self.shown - 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=1))
        axes.xaxis.set_major_formatter(FuncFormatter(name))
        if self.counts:
            axes.set_yscale("symlog", linthresh=1)


def named(shape: Sequence[int], number: int, columns: Sequence[str] = ()) -> str:
    """Name of a variable, by its number in an observation of a shape.

    Example:
        >>> named((5,), 3), named((2, 4), 5), named((2,), 1, ("age", "height"))
        ('x[3]', 'x[1, 1]', 'height')
    """
    if columns:
        return columns[number]
    return f"x[{', '.join(str(place) for place in np.unravel_index(number, shape))}]"


def variables_of(x: Tensor) -> Variables:
    """Variables of observations ``(n, *shape)``, with the units of these."""
    shape, rows = tuple(x.shape[1:]), x.flatten(1).double().cpu()
    zeros, ones = torch.zeros(rows.shape[1]).double(), torch.ones(rows.shape[1]).double()
    known = rows[rows.isfinite()]
    whole = bool((known == known.round()).all() and (known >= 0).all())
    largest = float(known.max()) if len(known) else 0.0
    if len(shape) > 1 or len(zeros) == 1 or (whole and largest <= 1):
        return Variables(shape, zeros, ones, counts=False)
    if whole and largest > LARGE_COUNT:
        return Variables(shape, zeros, ones, counts=True)
    centre = rows.nanmean(0)
    scale = (rows - centre).square().nanmean(0).sqrt()
    usable = centre.isfinite() & (scale > 0) & scale.isfinite()
    return Variables(shape, centre.nan_to_num(), torch.where(usable, scale, ones), counts=False)


def variables_in(data: Dataset) -> Variables:
    """Variables of a data set, as the model sees it."""
    index = evenly(data, min(len(data), MOST_ROWS))
    batch = observations(data, index)
    return replace(variables_of(known_values(batch, batch.x)), columns=data.columns)


def known_values(batch: Batch, x: Tensor) -> Tensor:
    """Values ``x`` of the batch's observations, NaN where the batch does not know them."""
    known = batch.others.get(X_KNOWN)
    if known is None:
        return x
    known = known.reshape(known.shape + (1,) * (x.ndim - known.ndim)).to(x.device)
    return torch.where(known.bool(), x, torch.nan)
