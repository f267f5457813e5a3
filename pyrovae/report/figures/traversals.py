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
from pyrovae.report.figures.variables import variables_in

CAPTION = (
    "The decoded latent of one observation, with one dimension at a time moved through the "
    "quantiles of the prior and the others held at the encoder's values. Each row is a latent "
    "dimension, the most informative of the data first. Framed in orange is the quantile nearest "
    "to the observation's own latent. On the right, the change of the output along the row. "
    "Collapsed dimensions, which change nothing, are named in the title."
)

TABLE_CAPTION = (
    "The decoded latent of one observation, with one dimension at a time moved through the "
    "quantiles of the prior and the others held at the encoder's values. Each panel is a latent "
    "dimension, the most informative of the data first; each colour is a quantile. Where the "
    "colours coincide the dimension does not change these variables. Collapsed dimensions, which "
    "change none, are named in the title."
)

MOST_PANELS = 12
"""Most dimensions drawn for a table."""

LABELS, ROWS, BARS = 1.6, 5.6, 1.4
"""Inches from left to right: names of the rows, the rows, and the bars beside them."""

HEAD, BETWEEN = 0.5, 0.95
"""Inches above the observation, and between observation and rows."""

LINE = 0.25
"""Inches of a further line of the title."""

MOST_NAMED = 12
"""Most collapsed dimensions that are named."""


def traversals(found: Traversals, data: Dataset) -> Figure:
    """Rows of images, one per latent dimension; for tables one panel of lines each.

    Args:
        found: Result to draw.
        data: Data set of the observation, as the model sees it.
    """
    rows = _rows(found)
    draw = _draw_images if data.are_images else _draw_table
    return draw(found, data, rows)


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


def _rows(found: Traversals) -> list[int]:
    """Rows that are drawn: the active dimensions, or the first if there is none."""
    return np.flatnonzero(found.active[: found.shown]).tolist() or [0]


def _title(found: Traversals, data: Dataset, rows: list[int]) -> str:
    """Title, with the names of the first collapsed dimensions that are not drawn."""
    gone = [found.names[n] for n in np.flatnonzero(~found.active).tolist() if n not in rows]
    title = f"{data.name}: latent traversals"
    if not gone:
        return title
    more = f" and {len(gone) - MOST_NAMED} more" if len(gone) > MOST_NAMED else ""
    return f"{title}\ncollapsed, not shown: {', '.join(gone[:MOST_NAMED])}{more}"


@styled
def _draw_images(found: Traversals, data: Dataset, shown: list[int]) -> Figure:
    images, datum, reconstruction = shades(
        data, found.images[shown], found.datum, found.reconstruction
    )
    aspect = images.shape[-2] / images.shape[-1]
    top, rows = 1.2, len(shown) * aspect * ROWS / max(len(found.probabilities), 5)
    title = _title(found, data, shown)
    head = HEAD + LINE * title.count("\n")
    height = head + top + BETWEEN + rows + 0.15
    figure = new_figure(title, height)
    figure.set_layout_engine("none")  # whose two passes are too few for axes with an aspect

    def place(left: float, up: float, width: float, high: float) -> Axes:
        """Axes, all in inches; from above."""
        return figure.add_axes(
            (left / WIDTH, 1 - (up + high) / height, width / WIDTH, high / height)
        )

    figure.suptitle(figure.get_suptitle(), y=1 - 0.1 / height, parse_math=False)
    above = place(LABELS, head, ROWS, top)
    tiles = draw_tiles(above, torch.stack([datum, reconstruction]), 2)
    above.set_xticks(
        [tiles.across(0), tiles.across(1)], ["observation", "reconstruction"], size=10
    )
    grid = place(LABELS, head + top + BETWEEN, ROWS, rows)
    places = _draw_rows(grid, images.flatten(0, 1), found, shown)
    beside = place(LABELS + ROWS + 0.2, head + top + BETWEEN, BARS, rows)
    _draw_lengths(beside, places, found, shown)
    return figure


def _draw_rows(axes: Axes, images: Tensor, found: Traversals, shown: list[int]) -> Places:
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
    axes.set_xlabel(
        "quantile of the prior (framed: nearest to the observation)", size=10, labelpad=6
    )
    places = [tiles.down(place) for place in range(len(shown))]
    axes.set_yticks(places, [named(found, row) for row in shown], size=9)
    for place, row in enumerate(shown):
        nearest = int(np.abs(found.values[row] - found.code[row]).argmin())
        _frame_nearest(axes, tiles, place, nearest)
    low, high = axes.get_ylim()
    return Places(places, 0.55 * tiles.height, (low, high))


def _frame_nearest(axes: Axes, tiles: Tiles, row: int, column: int) -> None:
    corner = (tiles.across(column - 0.5), tiles.down(row - 0.5))
    style: dict[str, Any] = {"fill": False, "edgecolor": MODEL, "linewidth": 1.2}
    axes.add_patch(Rectangle(corner, tiles.width, tiles.height, **style))


def _draw_lengths(beside: Axes, places: Places, found: Traversals, shown: list[int]) -> None:
    """Bars beside the rows: how far the output moves along each."""
    colours = [DATA if found.active[row] else GREY for row in shown]
    lengths = found.path_length[shown]
    beside.barh(places.middles, lengths, height=places.thickness, color=colours)
    beside.set_ylim(places.limits)
    beside.tick_params(axis="y", left=False, labelleft=False)
    beside.tick_params(axis="x", labelsize=8)
    beside.grid(visible=False, axis="y")
    beside.spines["left"].set_visible(True)
    beside.set_xlim(0, 1.05 * lengths.max() or 1.0)
    beside.xaxis.set_major_locator(MaxNLocator(nbins=3))
    beside.xaxis.tick_top()
    beside.xaxis.set_label_position("top")
    beside.set_xlabel("change\n(RMS per value)", size=9)


@styled
def _draw_table(found: Traversals, data: Dataset, shown: list[int]) -> Figure:
    count = min(len(shown), MOST_PANELS)
    columns = min(count, 3)
    rows = -(-count // columns)
    figure = new_figure(_title(found, data, shown), 1.9 + 2.0 * rows)
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    colours = matplotlib.colormaps["viridis"]
    norm = Normalize(0, 1)
    variables = variables_in(data)
    places = variables.places
    datum, mean = (variables.values(x.flatten()) for x in (found.datum, found.reconstruction))
    size = 4.0 if variables.few else 1.5
    shades_of = [colours(norm(probability)) for probability in found.probabilities]
    for row, axes in zip(shown, panels.flat[:count], strict=False):
        lines = found.images[row].flatten(1)
        draw_rows(axes, variables, lines, shades_of, linewidth=1.3, markersize=size * 0.6)
        axes.plot(places, datum, "x", color="black", ms=size + 1, label="observation", zorder=3)
        label, style = "reconstruction", {"ms": size + 1, "zorder": 3}
        axes.plot(places, mean, "_", color=MODEL, label=label, **style)
        axes.set_title(named(found, row), size=10)
    for axes in panels.flat[count:]:
        axes.set_axis_off()
    for axes in panels.flat[max(count - columns, 0) : count]:
        axes.set_xlabel(variables.label)
        axes.tick_params(labelbottom=True)
    figure.supylabel(variables.unit, size="medium")
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
