"""Pictures of tables and of other data that are not images: variables side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from pyrovae.data import Dataset
from pyrovae.report.figures.style import DATA, MODEL, new_figure, styled

HEIGHT = 4.8
"""Height of all pictures of tables, in inches."""

THREAD = "#b9bec6"
"""Colour of the lines between data and their reconstructions."""

MOST_VARIABLES = 40
"""Most variables that can be told apart in a picture of intervals."""


@styled
def draw_reconstructed_rows(
    data: Dataset, x: Tensor, means: Tensor, labels: Tensor | None
) -> Figure:
    """Six observations, variables from left to right, or all if they are points in a plane.

    Args:
        data: Data set of ``x``.
        x: Observations ``(n, *shape)``.
        means: Their reconstructions, of the same shape.
        labels: Their classes ``(n,)``, if there are any.
    """
    figure = new_figure(f"{data.name}: test data and their reconstructions", HEIGHT)
    if data.shape.numel() == 2:
        _draw_plane(figure, x.flatten(1), means.flatten(1), "reconstructions", joined=True)
    else:
        _draw_panels(figure, data, torch.stack([x, means], 1).flatten(2), labels)
        figure.axes[4].set_xlabel(variables_label(data))
    return figure


@styled
def draw_sampled_rows(data: Dataset, x: Tensor, means: Tensor) -> Figure:
    """The distribution of each variable in the data and in samples; two variables as points.

    Args:
        data: Data set of ``x``.
        x: Observations ``(n, *shape)``.
        means: Means of p(x | z) at latents of the prior, of the same shape.
    """
    title = f"{data.name}: samples, means of p(x | z) at latents z from the prior"
    figure = new_figure(title, HEIGHT)
    if data.shape.numel() == 2:
        _draw_plane(figure, x.flatten(1), means.flatten(1), "samples")
        return figure
    axes = figure.subplots()
    draw_intervals(axes, x.flatten(1), DATA, "test data", -0.15)
    draw_intervals(axes, means.flatten(1), MODEL, "samples", 0.15)
    axes.set_xlabel(variables_label(data, MOST_VARIABLES))
    axes.set_ylabel("value: mean, and 5th to 95th percentile")
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def draw_rows(
    axes: Axes,
    data: Dataset,
    rows: Tensor,
    colours: Sequence[Any],
    labels: Sequence[str | None] | None = None,
    **style: Any,
) -> None:
    """Draw observations over their variables, from left to right.

    Values are joined by a line, but not the columns of a table, which have no order: there the
    range of each column is a thin line.

    Args:
        axes: Axes to draw on.
        data: Data set of the rows.
        rows: Observations ``(n, variables)``.
        colours: Colour of each.
        labels: Name of each for a legend, or None.
        style: Options of ``axes.plot`` for all.
    """
    places = range(1, rows.shape[1] + 1)
    table = len(data.shape) == 1
    for row, colour, label in zip(rows, colours, labels or [None] * len(rows), strict=True):
        line = "" if table else "-"
        axes.plot(places, row, color=colour, label=label, marker="o", linestyle=line, **style)
    if table:
        axes.vlines(places, rows.amin(0), rows.amax(0), color=THREAD, linewidth=1, zorder=1)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=1))


def _draw_panels(figure: Figure, data: Dataset, pairs: Tensor, labels: Tensor | None) -> None:
    """Two rows of three panels, an observation and its reconstruction in each."""
    size = 4.5 if pairs.shape[-1] <= MOST_VARIABLES else 1.5
    names = ("data", "reconstruction")
    panels = figure.subplots(2, 3, sharex=True, sharey=True)
    for number, axes in enumerate(panels.flat[: len(pairs)]):
        draw_rows(axes, data, pairs[number], (DATA, MODEL), names, markersize=size)
        if labels is not None:
            axes.set_title(f"class {labels[number]}")
    for axes in panels.flat[len(pairs) :]:
        axes.set_axis_off()
    figure.supylabel("value", size="medium")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)


def _draw_plane(
    figure: Figure, x: Tensor, means: Tensor, name: str, *, joined: bool = False
) -> None:
    """Draw data ``(n, 2)`` and the model's means, optionally joined by lines."""
    axes = figure.subplots()
    axes.set(xlabel="variable 1", ylabel="variable 2")
    if joined:
        axes.plot(*torch.stack([x, means]).unbind(-1), color=THREAD, linewidth=1)
    style: dict[str, Any] = {"s": 14, "alpha": 0.7, "linewidths": 0, "zorder": 2}
    axes.scatter(x[:, 0], x[:, 1], color=DATA, label="test data", **style)
    axes.scatter(means[:, 0], means[:, 1], color=MODEL, label=name, **style)
    figure.legend(loc="outside lower center", ncols=2, markerscale=1.5)


def draw_intervals(axes: Axes, x: Tensor, colour: str, label: str, shift: float) -> None:
    """Mean, and 5th to 95th percentile, of each variable of rows ``(n, variables)``."""
    x = x[:, :MOST_VARIABLES]
    places = torch.arange(1, x.shape[1] + 1) + shift
    low, high = x.quantile(torch.tensor([0.05, 0.95]), 0)
    axes.vlines(places, low, high, color=colour, linewidth=2)
    axes.plot(places, x.mean(0), "o", color=colour, markersize=5, label=label)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))


def variables_label(data: Dataset, most: int | None = None) -> str:
    """Label of the horizontal axis, where at most the first so many variables are drawn."""
    shape = " × ".join(map(str, data.shape))
    what = "variable" if len(data.shape) == 1 else f"variable (of {shape}, last axis fastest)"
    count = data.shape.numel()
    return what if most is None or count <= most else f"{what}, the first {most} of {count}"
