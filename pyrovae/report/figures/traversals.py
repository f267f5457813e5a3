"""Pictures of latent traversals."""

from __future__ import annotations

from typing import Any, NamedTuple

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, PercentFormatter
from torch import Tensor

from pyrovae.data import Dataset
from pyrovae.exploration.traversal import Traversals
from pyrovae.report.figures.style import DATA, GREY, MODEL, WIDTH, new_figure, styled
from pyrovae.report.figures.tables import draw_rows
from pyrovae.report.figures.tiles import Tiles, draw_tiles, shades

CAPTION = (
    "The decoded latent of one observation, with one dimension at a time moved through the "
    "quantiles of the prior and the others held at the encoder's values. Each row is a latent "
    "dimension, the most informative of the data first. Marked in red is the quantile nearest to "
    "the observation's own latent. On the right, the change of the output along the row: a "
    "collapsed dimension, which the decoder does not use, changes nothing."
)

TABLE_CAPTION = (
    "The decoded latent of one observation, with one dimension at a time moved through the "
    "quantiles of the prior and the others held at the encoder's values. Each panel is a latent "
    "dimension, the most informative of the data first; each colour is a quantile. Where the "
    "colours coincide the dimension does not change these variables; a collapsed one changes none."
)

MOST_PANELS = 12
"""Most dimensions drawn for a table."""

LABELS, ROWS, BARS = 1.6, 5.6, 1.4
"""Inches from left to right: names of the rows, the rows, and the bars beside them."""

HEAD, BETWEEN = 0.5, 0.95
"""Inches above the observation, and between observation and rows."""

FAINT = "#8a8f98"
"""Colour of the label of a collapsed dimension."""


def traversals(found: Traversals, data: Dataset) -> Figure:
    """Rows of images, one per latent dimension; for tables one panel of lines each.

    Args:
        found: Result to draw.
        data: Data set of the observation, as the model sees it.
    """
    return _draw_images(found, data) if data.are_images else _draw_table(found, data)


def caption(data: Dataset) -> str:
    """Caption of the picture."""
    return CAPTION if data.are_images else TABLE_CAPTION


class Places(NamedTuple):
    """Positions of the rows, for bars beside them.

    Attributes:
        middles: Middles of the rows.
        thickness: Thickness of a bar.
        limits: Limits of the vertical axis.
    """

    middles: list[float]
    thickness: float
    limits: tuple[float, float]


@styled
def _draw_images(found: Traversals, data: Dataset) -> Figure:
    images, datum, reconstruction = shades(data, found.images, found.datum, found.reconstruction)
    aspect = images.shape[-2] / images.shape[-1]
    top, rows = 1.2, found.shown * aspect * ROWS / max(len(found.probabilities), 5)
    height = HEAD + top + BETWEEN + rows + 0.15
    figure = new_figure(f"{data.name}: latent traversals", height)
    figure.set_layout_engine("none")  # whose two passes are too few for axes with an aspect

    def place(left: float, up: float, width: float, high: float) -> Axes:
        """Axes, all in inches; from above."""
        return figure.add_axes(
            (left / WIDTH, 1 - (up + high) / height, width / WIDTH, high / height)
        )

    figure.suptitle(figure.get_suptitle(), y=1 - 0.1 / height, parse_math=False)
    above = place(LABELS, HEAD, ROWS, top)
    tiles = draw_tiles(above, torch.stack([datum, reconstruction]), 2)
    above.set_xticks(
        [tiles.across(0), tiles.across(1)], ["observation", "reconstruction"], size=10
    )
    grid = place(LABELS, HEAD + top + BETWEEN, ROWS, rows)
    places = _draw_rows(grid, images.flatten(0, 1), found)
    _draw_lengths(place(LABELS + ROWS + 0.2, HEAD + top + BETWEEN, BARS, rows), places, found)
    return figure


def _draw_rows(axes: Axes, images: Tensor, found: Traversals) -> Places:
    """Draw the images; return the positions of the rows."""
    steps = len(found.probabilities)
    tiles = draw_tiles(axes, images, steps)
    axes.set_xticks(
        [tiles.across(step) for step in range(steps)],
        [quantile(probability) for probability in found.probabilities],
        size=9,
    )
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_xlabel("quantile of the prior", size=10, labelpad=6)
    places = [tiles.down(row) for row in range(found.shown)]
    axes.set_yticks(places, [named(found, row) for row in range(found.shown)], size=9)
    for row, label in enumerate(axes.get_yticklabels()):
        if not found.active[row]:
            label.set_color(FAINT)
            _fade(axes, tiles, row, steps)
        _frame_nearest(axes, tiles, row, int(np.abs(found.values[row] - found.code[row]).argmin()))
    low, high = axes.get_ylim()
    return Places(places, 0.55 * tiles.height, (low, high))


def _fade(axes: Axes, tiles: Tiles, row: int, steps: int) -> None:
    """Fade a row along which the output does not change."""
    corner = (-0.5, tiles.down(row - 0.5))
    veil: dict[str, Any] = {"facecolor": "white", "alpha": 0.6, "linewidth": 0}
    axes.add_patch(Rectangle(corner, steps * tiles.width + tiles.gap, tiles.height, **veil))


def _frame_nearest(axes: Axes, tiles: Tiles, row: int, column: int) -> None:
    corner = (tiles.across(column - 0.5), tiles.down(row - 0.5))
    style: dict[str, Any] = {"fill": False, "edgecolor": MODEL, "linewidth": 1.2}
    axes.add_patch(Rectangle(corner, tiles.width, tiles.height, **style))


def _draw_lengths(beside: Axes, places: Places, found: Traversals) -> None:
    """Bars beside the rows: how far the output moves along each."""
    colours = [DATA if active else GREY for active in found.active[: found.shown]]
    beside.barh(places.middles, found.path_length, height=places.thickness, color=colours)
    beside.set_ylim(places.limits)
    beside.tick_params(axis="y", left=False, labelleft=False)
    beside.tick_params(axis="x", labelsize=8)
    beside.grid(visible=False, axis="y")
    beside.spines["left"].set_visible(True)
    beside.set_xlim(0, 1.05 * found.path_length.max() or 1.0)
    beside.xaxis.set_major_locator(MaxNLocator(nbins=3))
    beside.xaxis.tick_top()
    beside.xaxis.set_label_position("top")
    beside.set_xlabel("change\n(RMS per value)", size=9)


@styled
def _draw_table(found: Traversals, data: Dataset) -> Figure:
    count = min(found.shown, MOST_PANELS)
    columns = min(count, 3)
    rows = -(-count // columns)
    figure = new_figure(f"{data.name}: latent traversals", 1.6 + 2.0 * rows)
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    colours = matplotlib.colormaps["viridis"]
    norm = Normalize(0, 1)
    datum = found.datum.flatten()
    places = range(1, len(datum) + 1)
    size = 4.0 if len(datum) <= 40 else 1.5
    shades_of = [colours(norm(probability)) for probability in found.probabilities]
    for row, axes in enumerate(panels.flat[:count]):
        lines = found.images[row].flatten(1)
        draw_rows(axes, data, lines, shades_of, linewidth=1.3, markersize=size * 0.6)
        axes.plot(places, datum, "x", color="black", ms=size + 1, label="observation", zorder=3)
        label, style = "reconstruction", {"ms": size + 1, "zorder": 3}
        axes.plot(places, found.reconstruction.flatten(), "_", color=MODEL, label=label, **style)
        colour = "black" if found.active[row] else FAINT
        axes.set_title(named(found, row), size=10, color=colour)
        if not found.active[row]:
            axes.set_facecolor("#f4f5f6")
    for axes in panels.flat[count:]:
        axes.set_axis_off()
    for axes in panels.flat[max(count - columns, 0) : count]:
        axes.set_xlabel("variable")
        axes.tick_params(labelbottom=True)
    figure.supylabel("value", size="medium")
    bar = figure.colorbar(ScalarMappable(norm, colours), ax=panels, shrink=0.8)
    bar.set_label("quantile of the prior")
    bar.ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def named(found: Traversals, row: int) -> str:
    """Label beside a row."""
    kl = found.kl[row]
    said = f"KL {kl:.1f} nats" if np.isfinite(kl) else f"variance {found.variance[row]:.2f}"
    if not found.active[row]:
        said = "collapsed"
    return f"{found.names[row]}  {said}"


def quantile(probability: float) -> str:
    """A probability as it is written above a column."""
    return f"{probability:.0%}".replace("%", " %")
