"""Axis ranges for arrays with outliers and non-finite values."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from pyrovae.report.figures.history import limits

Array = NDArray[Any]


class Scale(NamedTuple):
    """A range that shows most of the values.

    Attributes:
        low: Its lower end.
        high: Its upper end; larger than the lower one.
        hidden: Number of values outside or not finite.
    """

    low: float
    high: float
    hidden: int

    @property
    def remark(self) -> str:
        """Remark on the values that are not shown; empty if all are."""
        return f"\n(values off the scale: {self.hidden})" if self.hidden else ""

    def bins(self, count: int) -> list[float]:
        """Edges of bins that share the range."""
        return np.linspace(self.low, self.high, count + 1).tolist()


def finite(values: Array) -> Array:
    """Finite values, flattened, float64."""
    flat = np.asarray(values, dtype=np.float64).ravel()
    return flat[np.isfinite(flat)]


def scale_of(*arrays: Array) -> Scale:
    """Scale for arrays that share an axis, robust to outliers.

    Example:
        >>> scale_of(np.array([1.0, 2.0, np.nan]), np.array([3.0]))
        Scale(low=1.0, high=3.0, hidden=1)
    """
    values = np.concatenate([finite(array) for array in arrays])
    total = sum(np.asarray(array).size for array in arrays)
    if not len(values):
        return Scale(0.0, 1.0, total)
    low, high = limits(values)
    shown = np.count_nonzero((values >= low) & (values <= high))
    if not low < high:
        reach = 0.5 * max(abs(low), 1.0)
        low, high = low - reach, high + reach
    return Scale(low, high, int(total - shown))


def marker_size(count: int) -> float:
    """Area of a marker, in points², by the number drawn."""
    return float(np.clip(4000 / max(count, 1), 6, 30))


def tick_dimensions(axes: Axes, order: Array, size: float = 11) -> None:
    """Label the ticks 0, 1, ... with the latent dimensions drawn there."""
    count = len(order)
    step = -(-count // 64)
    places = np.arange(0, count, step)
    axes.set_xticks(places, [str(order[place]) for place in places], size=size)
    axes.tick_params(axis="x", length=0)
    spare = max(0.6, 2 - count / 2)  # few bars are not to become walls
    axes.set_xlim(-spare, count - 1 + spare)
    axes.grid(visible=False, axis="x")


def say_none(axes: Axes, text: str) -> None:
    """Write the reason into an empty panel."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color="#5f6672")
    axes.grid(visible=False)
    axes.set(xticks=[], yticks=[])
