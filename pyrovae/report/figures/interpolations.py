"""Pictures of latent interpolations."""

from __future__ import annotations

from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from torch import Tensor

from pyrovae.data import Dataset
from pyrovae.exploration.interpolation import Interpolations
from pyrovae.report.figures.style import DATA, MODEL, WIDTH, new_figure, styled
from pyrovae.report.figures.tables import draw_rows
from pyrovae.report.figures.tiles import draw_tiles, shades
from pyrovae.report.figures.variables import Variables, variables_in

CAPTION = (
    "Decoded paths between the latents of two observations: along the straight line, and along "
    "the arc about the origin. The observations themselves are at the ends of each row. Below, "
    "the change of the output from step to step: a peak is a jump. Even steps alone do not make a "
    "good model, since a mere cross-fade of both images has them too; the images in between must "
    "look like data."
)

MOST_TABLE_PAIRS = 4
"""Most pairs drawn for a table."""

COLOURS = {"linear": DATA, "spherical": MODEL}


@styled
def interpolations(found: Interpolations, data: Dataset) -> Figure:
    """Rows of interpolations between two observations, with the change per step below.

    Args:
        found: Result to draw.
        data: Data set of the observations, as the model sees it.
    """
    draw = _draw_images if data.are_images else _draw_tables
    return draw(found, data)


def _draw_images(found: Interpolations, data: Dataset) -> Figure:
    images, ends = shades(data, found.images, found.ends)
    ways, pairs, steps = images.shape[:3]
    columns = steps + 2
    tile = (WIDTH - 1.2) / max(columns, 10) * images.shape[-2] / images.shape[-1]
    block = ways * tile
    height = 1.0 + pairs * (block + 0.08) + 2.6
    figure = new_figure(f"{data.name}: interpolations between pairs of data", height)
    grid = figure.add_gridspec(pairs + 1, 1, height_ratios=[*[block] * pairs, 2.3])
    for pair in range(pairs):
        axes = figure.add_subplot(grid[pair])
        rows = [_row(images[way, pair], ends[pair]) for way in range(ways)]
        tiles = draw_tiles(axes, torch.cat(rows), columns)
        axes.set_yticks([tiles.down(way) for way in range(ways)], found.ways, size=9)
        if pair == 0:
            middle = "means of p(x | z) between the latents"
            places = [0, (columns - 1) / 2, columns - 1]
            axes.set_xticks(
                [tiles.across(place) for place in places], ["observation", middle, "observation"]
            )
            axes.xaxis.tick_top()
    _draw_changes(figure.add_subplot(grid[pairs]), found)
    return figure


def _row(images: Tensor, ends: Tensor) -> Tensor:
    """Put the two observations at the ends of the interpolation."""
    return torch.cat([ends[:1], images, ends[1:]])


def _draw_changes(axes: Axes, found: Interpolations) -> None:
    """Thin lines of all pairs, and their means."""
    steps = found.change.shape[-1]
    places = [(step + 0.5) / steps for step in range(steps)]
    for way, change in zip(found.ways, found.change, strict=True):
        style: dict[str, Any] = {"color": COLOURS[way]}
        axes.plot(places, change.T, linewidth=0.7, alpha=0.35, **style)
        axes.plot(places, change.mean(0), "o-", linewidth=2, label=f"{way}, mean", **style)
    axes.set_ylim(0, 1.05 * found.change.max() or 1.0)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    axes.set(xlabel="path from one latent to the other", ylabel="change per step\n(RMS per value)")
    axes.legend(loc="best", ncols=2, fontsize=9)


def _draw_tables(found: Interpolations, data: Dataset) -> Figure:
    pairs, ways = min(len(found.ends), MOST_TABLE_PAIRS), len(found.ways)
    title = f"{data.name}: interpolations between pairs of data"
    figure = new_figure(title, 4.2 + 1.7 * pairs)
    heights = [0.9 + 1.7 * pairs, 2.8]
    upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=heights)[:, 0]
    panels = upper.subplots(pairs, ways, sharex=True, sharey=True, squeeze=False)
    norm, colours = Normalize(0, 1), matplotlib.colormaps["viridis"]
    variables = variables_in(data)
    for (pair, way), axes in zip(_cells(pairs, ways), panels.flat, strict=True):
        _draw_lines(
            axes, variables, found.images[way, pair].flatten(1), found.ends[pair].flatten(1)
        )
        if pair == 0:
            axes.set_title(found.ways[way])
    for axes in panels[-1]:
        axes.set_xlabel(variables.label)
    upper.supylabel(variables.unit, size="medium")
    bar = upper.colorbar(ScalarMappable(norm, colours), ax=panels, shrink=0.8)
    bar.set_label("path from one latent to the other")
    bar.ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    upper.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    _draw_changes(lower.subplots(), found)
    return figure


def _cells(pairs: int, ways: int) -> list[tuple[int, int]]:
    return [(pair, way) for pair in range(pairs) for way in range(ways)]


def _draw_lines(axes: Axes, variables: Variables, lines: Tensor, ends: Tensor) -> None:
    """The variables at each step, and both data as crosses."""
    colours = list(matplotlib.colormaps["viridis"](np.linspace(0, 1, len(lines))))
    few = variables.few
    draw_rows(axes, variables, lines, colours, linewidth=1.3, markersize=2.5 if few else 1)
    for name, end, mark in (
        ("first observation", ends[0], "x"),
        ("second observation", ends[1], "+"),
    ):
        place, value = variables.places, variables.values(end)
        axes.plot(place, value, mark, color="black", markersize=6 if few else 2, label=name)
