"""Pictures of tables and of other data that are not images: variables side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from pyrovae.data import Dataset
from pyrovae.report.figures.style import DATA, MODEL, new_figure, styled
from pyrovae.report.figures.variables import Variables, named, variables_in

HEIGHT = 4.8
"""Height of all pictures of tables, in inches."""

THREAD = "#b9bec6"
"""Colour of the lines between data and their reconstructions."""


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
        _draw_plane(figure, data, x, means, "reconstructions", joined=True)
    else:
        variables = variables_in(data)
        _draw_panels(figure, variables, torch.stack([x, means], 1).flatten(2), labels)
        figure.axes[4].set_xlabel(variables.label)
    return figure


@styled
def draw_sampled_rows(data: Dataset, x: Tensor, drawn: Tensor) -> Figure:
    """The distribution of each variable in the data and in samples; two variables as points.

    Args:
        data: Data set of ``x``.
        x: Observations ``(n, *shape)``.
        drawn: Draws from p(x), of the same shape.
    """
    figure = new_figure(f"{data.name}: test data, and samples from p(x)", HEIGHT)
    if data.shape.numel() == 2:
        _draw_plane(figure, data, x, drawn, "samples")
        return figure
    axes, variables = figure.subplots(), variables_in(data)
    draw_intervals(axes, variables, x, DATA, "test data", -0.15)
    draw_intervals(axes, variables, drawn, MODEL, "samples", 0.15)
    axes.set_xlabel(variables.label)
    axes.set_ylabel(f"{variables.unit}:\nmean, and 5th to 95th percentile")
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def draw_rows(
    axes: Axes,
    variables: Variables,
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
        variables: Names and units of the variables.
        rows: Observations ``(n, variables)``, as the model sees them.
        colours: Colour of each.
        labels: Name of each for a legend, or None.
        style: Options of ``axes.plot`` for all.
    """
    places, rows = variables.places, variables.values(rows)
    table = variables.are_columns
    for row, colour, label in zip(rows, colours, labels or [None] * len(rows), strict=True):
        line = "" if table else "-"
        axes.plot(places, row, color=colour, label=label, marker="o", linestyle=line, **style)
    if table:
        axes.vlines(places, rows.amin(0), rows.amax(0), color=THREAD, linewidth=1, zorder=1)
    variables.tick(axes)


def _draw_panels(
    figure: Figure, variables: Variables, pairs: Tensor, labels: Tensor | None
) -> None:
    """Two rows of three panels, an observation and its reconstruction in each."""
    size = 4.5 if variables.few else 1.5
    names = ("data", "reconstruction")
    panels = figure.subplots(2, 3, sharex=True, sharey=True)
    for number, axes in enumerate(panels.flat[: len(pairs)]):
        draw_rows(axes, variables, pairs[number], (DATA, MODEL), names, markersize=size)
        if labels is not None:
            axes.set_title(f"class {labels[number]}")
    for axes in panels.flat[len(pairs) :]:
        axes.set_axis_off()
    figure.supylabel(variables.unit, size="medium")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)


def _draw_plane(
    figure: Figure, data: Dataset, x: Tensor, means: Tensor, name: str, *, joined: bool = False
) -> None:
    """Draw data of two variables and the model's values, optionally joined by lines."""
    axes, x, means = figure.subplots(), x.flatten(1), means.flatten(1)
    names = [named(data.shape, number, data.columns) for number in (0, 1)]
    axes.set(xlabel=names[0], ylabel=names[1])
    if joined:
        axes.plot(*torch.stack([x, means]).unbind(-1), color=THREAD, linewidth=1)
    style: dict[str, Any] = {"s": 14, "alpha": 0.7, "linewidths": 0, "zorder": 2}
    axes.scatter(x[:, 0], x[:, 1], color=DATA, label="test data", **style)
    axes.scatter(means[:, 0], means[:, 1], color=MODEL, label=name, **style)
    figure.legend(loc="outside lower center", ncols=2, markerscale=1.5)


def draw_intervals(
    axes: Axes, variables: Variables, x: Tensor, colour: str, label: str, shift: float
) -> None:
    """Mean, and 5th to 95th percentile, of each variable of observations ``(n, *shape)``."""
    values, places = variables.values(x.flatten(1)), variables.places + shift
    low, high = values.nanquantile(torch.tensor([0.05, 0.95]).double(), 0)
    axes.vlines(places, low, high, color=colour, linewidth=2)
    axes.plot(places, values.nanmean(0), "o", color=colour, markersize=5, label=label)
    variables.tick(axes)
