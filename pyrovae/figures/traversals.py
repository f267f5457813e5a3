"""Pictures of what each latent dimension does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator, PercentFormatter
from PIL import Image
from torch import Tensor

from pyrovae.data import Dataset
from pyrovae.exploration.traversal import Traversals
from pyrovae.figures.style import DATA, GREY, MODEL, WIDTH, new_figure, styled
from pyrovae.figures.tiles import Tiles, are_images, arrange, draw_tiles, shades

CAPTION = (
    "One datum's code with one number at a time moved through the quantiles of the prior, "
    "decoded; the other numbers stay as the encoder gives them. Each row is a latent dimension, "
    "those that say most of the data first. Marked in red is the quantile nearest to the datum's "
    "own code. On the right, how far the output moves along the row: a collapsed dimension, "
    "which the decoder does not use, changes nothing."
)

TABLE_CAPTION = (
    "One datum's code with one number at a time moved through the quantiles of the prior, "
    "decoded; the other numbers stay as the encoder gives them. Each panel is a latent dimension, "
    "those that say most of the data first; each line is a quantile. Where the lines lie on each "
    "other the dimension does not change these variables; a collapsed one changes none."
)

MOST_PANELS = 12
"""More dimensions are not drawn of a table."""

TILE = 0.46
"""Inches of a column of images, of which there are eleven."""

FAINT = "#8a8f98"
"""Colour of what is written of a collapsed dimension."""

FRAME_DPI, FRAME_TIME, COLOURS = 80, 120, 64
"""Of an animation: pixels per inch, milliseconds per frame, and colours."""


def traversals(found: Traversals, data: Dataset) -> Figure:
    """Rows of images, a latent dimension in each; of tables a panel of lines for each.

    Args:
        found: What is drawn.
        data: Where the datum is from, as the model sees it.
    """
    return _draw_images(found, data) if are_images(data) else _draw_table(found, data)


def caption(data: Dataset) -> str:
    """How to read the picture."""
    return CAPTION if are_images(data) else TABLE_CAPTION


@styled
def write_gif(found: Traversals, data: Dataset, path: Path) -> Path | None:
    """Write an animation: all dimensions side by side, moving through the quantiles and back.

    Args:
        found: What is drawn.
        data: Where the datum is from, as the model sees it.
        path: A file that ends in ``.gif``.

    Returns:
        The file; None of tables, whose picture shows all quantiles at once.
    """
    if not are_images(data):
        return None
    shaded = shades(data, found.images)[0]
    figure, tiles, below = _draw_first_frame(found, data, shaded)
    frames = []
    for step in _there_and_back(len(found.probabilities)):
        for image, axes in zip(shaded[:, step], tiles, strict=True):
            axes.images[0].set_data(arrange(image.unsqueeze(0), 1, gap=0))
        below.set_text(f"quantile of the prior: {_quantile(found.probabilities[step])}")
        frames.append(_frame(figure))
    _save(frames, path)
    return path


def _draw_first_frame(
    found: Traversals, data: Dataset, shaded: Tensor
) -> tuple[Figure, list[Axes], Text]:
    """An image of each dimension, and one line of text below them."""
    columns = min(found.shown, 8 if found.shown > 10 else 5)
    rows = -(-found.shown // columns)
    aspect = shaded.shape[-2] / shaded.shape[-1]
    tile = WIDTH / max(columns, 5) * aspect
    figure = new_figure(f"{data.name}: latent traversals", rows * (tile + 0.35) + 0.9)
    figure.set_dpi(FRAME_DPI)
    panels = figure.subplots(rows, columns, squeeze=False)
    for axes in panels.flat:
        axes.set_axis_off()
    tiles = list(panels.flat[: found.shown])
    for row, axes in enumerate(tiles):
        axes.imshow(arrange(shaded[row, :1], 1, gap=0))
        colour = "black" if found.active[row] else FAINT
        axes.set_title(_named(found, row).replace("  ", "\n", 1), size=8, color=colour, pad=3)
    below = figure.supxlabel(f"quantile of the prior: {_quantile(1.0)}", size="medium")
    _frame(figure)
    figure.set_layout_engine("none")  # tiles stay where they are in the first frame
    return figure, tiles, below


@styled
def _draw_images(found: Traversals, data: Dataset) -> Figure:
    images, datum, reconstruction = shades(data, found.images, found.datum, found.reconstruction)
    aspect = images.shape[-2] / images.shape[-1]
    steps = images.shape[1]
    tile = TILE * aspect * 11 / max(steps, 5)
    height = 1.8 + 1.1 * min(aspect, 1.5) + found.shown * tile
    figure = new_figure(f"{data.name}: latent traversals", height)
    heights = [1.25 * min(aspect, 1.5), found.shown * tile]
    grid = figure.add_gridspec(2, 2, height_ratios=heights, width_ratios=[5, 1.1])
    top, rows = figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[1, 0])
    tiles = draw_tiles(top, torch.stack([datum, reconstruction]), 2)
    top.set_yticks([])
    top.set_xticks([tiles.across(0), tiles.across(1)], ["datum", "reconstruction"], size=10)
    _draw_rows(rows, images.flatten(0, 1), found)
    return figure


def _draw_rows(axes: Axes, images: Tensor, found: Traversals) -> None:
    steps = len(found.probabilities)
    tiles = draw_tiles(axes, images, steps)
    axes.set_xticks(
        [tiles.across(step) for step in range(steps)],
        [_quantile(probability) for probability in found.probabilities],
        size=9,
    )
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_xlabel("quantile of the prior", size=10, labelpad=6)
    places = [tiles.down(row) for row in range(found.shown)]
    axes.set_yticks(places, [_named(found, row) for row in range(found.shown)], size=9)
    for row, label in enumerate(axes.get_yticklabels()):
        if not found.active[row]:
            label.set_color(FAINT)
            _fade(axes, tiles, row, steps)
        _frame_nearest(axes, tiles, row, int(np.abs(found.values[row] - found.code[row]).argmin()))
    _draw_lengths(axes, places, tiles, found)


def _fade(axes: Axes, tiles: Tiles, row: int, steps: int) -> None:
    """A veil over a row that changes nothing."""
    corner = (-0.5, tiles.down(row - 0.5))
    veil: dict[str, Any] = {"facecolor": "white", "alpha": 0.6, "linewidth": 0}
    axes.add_patch(Rectangle(corner, steps * tiles.width + tiles.gap, tiles.height, **veil))


def _frame_nearest(axes: Axes, tiles: Tiles, row: int, column: int) -> None:
    corner = (tiles.across(column - 0.5), tiles.down(row - 0.5))
    style: dict[str, Any] = {"fill": False, "edgecolor": MODEL, "linewidth": 1.2}
    axes.add_patch(Rectangle(corner, tiles.width, tiles.height, **style))


def _draw_lengths(axes: Axes, places: list[float], tiles: Tiles, found: Traversals) -> None:
    """Bars beside the rows: how far the output moves along each."""
    beside = axes.inset_axes((1.03, 0.0, 0.2, 1.0), sharey=axes)
    colours = [DATA if active else GREY for active in found.active[: found.shown]]
    beside.barh(places, found.path_length, height=0.55 * tiles.height, color=colours)
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
    size = 4.0 if len(datum) <= 40 else 0.0
    for row, axes in enumerate(panels.flat[:count]):
        lines = found.images[row].flatten(1)
        for line, probability in zip(lines, found.probabilities, strict=True):
            axes.plot(places, line, "o-", color=colours(norm(probability)), lw=1.3, ms=size * 0.6)
        axes.plot(places, datum, "x", color="black", ms=size + 1, label="datum", zorder=3)
        label, style = "reconstruction", {"lw": 1, "ms": size / 2, "zorder": 3}
        axes.plot(places, found.reconstruction.flatten(), ".:", color=MODEL, label=label, **style)
        colour = "black" if found.active[row] else FAINT
        axes.set_title(_named(found, row), size=10, color=colour)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
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


def _named(found: Traversals, row: int) -> str:
    kl = found.kl[row]
    said = f"KL {kl:.1f} nats" if np.isfinite(kl) else f"variance {found.variance[row]:.2f}"
    if not found.active[row]:
        said = "collapsed"
    return f"{found.names[row]}  {said}"


def _quantile(probability: float) -> str:
    return f"{probability:.0%}".replace("%", " %")


def _there_and_back(steps: int) -> list[int]:
    """0, 1, ..., last, ..., 1."""
    return [*range(steps), *range(steps - 2, 0, -1)]


def _frame(figure: Figure) -> np.ndarray[Any, Any]:
    canvas: Any = figure.canvas
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _save(frames: list[np.ndarray[Any, Any]], path: Path) -> None:
    """With one palette for all frames, so that what stays the same takes no room."""
    film = Image.fromarray(np.concatenate(frames))
    film = film.quantize(COLOURS, dither=Image.Dither.NONE)
    height = len(frames[0])
    width = film.width
    cut = [film.crop((0, k * height, width, (k + 1) * height)) for k in range(len(frames))]
    cut[0].save(path, save_all=True, append_images=cut[1:], duration=FRAME_TIME, loop=0)
