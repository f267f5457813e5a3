"""Picture of samples from the prior and from the aggregated posterior, and of their latents."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.patches import Rectangle
from torch import Tensor

from pyrovae.data import Dataset
from pyrovae.data.examples import evenly
from pyrovae.evaluation.batches import observations
from pyrovae.evaluation.results import percent
from pyrovae.exploration.completeness import Samples
from pyrovae.report.figures.axis_range import Array, marker_size, scale_of
from pyrovae.report.figures.latent_plane import project
from pyrovae.report.figures.style import DATA, GREY, MODEL, WIDTH, new_figure, styled
from pyrovae.report.figures.tables import draw_intervals
from pyrovae.report.figures.tiles import GAP, intensities, show
from pyrovae.report.figures.variables import named, variables_in

CAPTION = (
    "Left, means of p(x | z) at latents drawn from the prior, which is how the model generates "
    "data; right, at latents drawn from q(z | x) of the data. Of tables, draws from p(x | z). "
    "Below, these latents. Marked on the left (orange frames, crosses) are draws of the prior in "
    "holes, where there are no latents of data and the decoder was not trained. Marked on the "
    "right are latents of data where the prior hardly ever draws: samples do not resemble these "
    "data. Both have a local outlier factor among draws of the other density that is larger than "
    "those of 99 % of its own draws. Crosses are drawn for at most two latent dimensions; more "
    "are projected, and a projection does not show holes. A gap is found only if it is wider than "
    "the latents are in their thinnest direction. If both densities are the same, about 1 % of "
    "each is marked. In many dimensions few are marked although many samples look wrong: compare "
    "the two grids."
)

MARK = "#111111"
"""Colour of points where the other density has hardly any mass."""

COLUMNS = 8
CODES_HEIGHT = 4.0
"""Inches of the panels below."""

TABLE_HEIGHT = 3.4
"""Inches of the panels above, if data are no images."""

MOST_POINTS = 2000
SIDES = ("latents of the prior, z ~ p(z)", "latents of data, z ~ q(z | x)")


@styled
def samples(found: Samples, data: Dataset) -> Figure:
    """Samples of both kinds above their latents, with those outside marked.

    Args:
        found: Result of :func:`pyrovae.exploration.completeness.sample_both`.
        data: The split that was analysed, for the range and for comparison.
    """
    title = f"{data.name}: samples from the prior, and from the aggregated posterior"
    count = data.shape.numel()
    if data.are_images:
        above = -(-len(found.shown) // COLUMNS) * _tile_height(data) + 0.4
    else:
        above = TABLE_HEIGHT
    figure = new_figure(title, 0.5 + above + CODES_HEIGHT)
    grid = figure.add_gridspec(2, 2, height_ratios=[above, CODES_HEIGHT])
    if data.are_images:
        _draw_images(figure, grid, found, data)
    elif count == 2:
        _draw_points(figure, grid, found, data)
    else:
        _draw_variables(figure.add_subplot(grid[0, :]), found, data)
    _draw_codes([figure.add_subplot(grid[1, side]) for side in (0, 1)], found)
    return figure


def _tile_height(data: Dataset) -> float:
    return WIDTH / 2 / COLUMNS * data.shape[-2] / data.shape[-1]


def _draw_images(figure: Figure, grid: GridSpec, found: Samples, data: Dataset) -> None:
    shades = intensities(data, _some(data))
    flags = (found.holes.outside, found.missed.outside)
    for side, images in enumerate((found.prior_samples, found.posterior_samples)):
        axes = figure.add_subplot(grid[0, side])
        columns = min(COLUMNS, len(images))
        height = show(axes, images, columns, shades)
        outside = np.flatnonzero(flags[side][found.shown.numpy()]).tolist()
        framed = f"\nframed: {('in a hole', 'out of reach')[side]}" if outside else ""
        axes.set_title(f"means of p(x | z) at {SIDES[side]}{framed}", fontsize=10)
        rows = -(-len(images) // columns)
        width = axes.get_images()[0].get_extent()[1]
        size = ((width - GAP) / columns, (height - GAP) / rows)
        for place in outside:
            _outline(axes, place % columns, place // columns, size)


def _outline(axes: Axes, column: int, row: int, size: tuple[float, float]) -> None:
    """Draw the gap around a tile, white below, so that it is seen on any image."""
    corner = (column * size[0] + GAP / 2 - 0.5, row * size[1] + GAP / 2 - 0.5)
    for colour, width in (("white", 4.5), (MODEL, 2.5)):
        axes.add_patch(
            Rectangle(corner, *size, fill=False, edgecolor=colour, linewidth=width, zorder=3)
        )


def _draw_variables(axes: Axes, found: Samples, data: Dataset) -> None:
    variables = variables_in(data)
    draw_intervals(axes, variables, _some(data), GREY, "data", -0.2)
    draw_intervals(axes, variables, found.prior_samples, MODEL, f"at {SIDES[0]}", 0.0)
    draw_intervals(axes, variables, found.posterior_samples, DATA, f"at {SIDES[1]}", 0.2)
    what = _what(data)
    axes.set_title(f"data, and {what} of p(x | z) at {len(found.shown)} latents of each kind")
    axes.set_xlabel(variables.label)
    axes.set_ylabel(f"{variables.unit}:\nmean, 5th to 95th percentile", fontsize=10)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=3)


def _draw_points(figure: Figure, grid: GridSpec, found: Samples, data: Dataset) -> None:
    x = _some(data).flatten(1)
    first: Axes | None = None
    for side, means in enumerate((found.prior_samples, found.posterior_samples)):
        axes = figure.add_subplot(grid[0, side], sharex=first, sharey=first)
        first = axes
        axes.scatter(x[:, 0], x[:, 1], s=marker_size(len(x)), color=GREY, linewidths=0)
        colour = (MODEL, DATA)[side]
        axes.scatter(means.flatten(1)[:, 0], means.flatten(1)[:, 1], s=14, color=colour)
        axes.set_title(f"data (grey), {_what(data)} of p(x | z) at\n{SIDES[side]}", fontsize=10)
        names = [named(data.shape, number, data.columns) for number in (0, 1)]
        axes.set(xlabel=names[0], ylabel=names[1])


def _draw_codes(panels: list[Axes], found: Samples) -> None:
    """Draw both kinds of latents, with those outside the other density marked."""
    both = [found.prior_codes[:MOST_POINTS], found.posterior_codes[:MOST_POINTS]]
    shares = (found.holes, found.missed)
    seen = both[0].shape[1] <= 2  # in a projection points in holes lie among the others
    flags = [share.outside[:MOST_POINTS] & seen for share in shares]
    draw = _draw_plane
    if both[0].shape[1] == 1:
        draw, labels = _draw_histogram, [found.names[0], "number of latents"]
        points = [codes.numpy() for codes in both]
    else:
        placed, labels = project(torch.cat(both))
        points = [part.numpy() for part in placed.split([len(codes) for codes in both])]
        labels = found.names if found.prior_codes.shape[1] == 2 else labels
    words = ("of the prior's draws in holes", "of data out of the prior's reach")
    for side, axes in enumerate(panels):
        draw(axes, points[1 - side], points[side], flags[side], (MODEL, DATA)[side])
        share, word = shares[side], words[side]
        axes.set_title(
            f"{percent(share.value)} {word} ({percent(share.expected)} expected)", fontsize=10
        )
        axes.set_xlabel(labels[0], fontsize=10)
        axes.set_ylabel(labels[1], fontsize=10)
        _name(axes, side, marked=bool(flags[side].any()))


def _draw_plane(axes: Axes, behind: Array, points: Array, flags: Array, colour: str) -> None:
    style: dict[str, Any] = {"s": marker_size(len(points)), "linewidths": 0}
    axes.scatter(behind[:, 0], behind[:, 1], color=GREY, alpha=0.5, **style)
    axes.scatter(points[~flags, 0], points[~flags, 1], color=colour, alpha=0.6, **style)
    axes.scatter(points[flags, 0], points[flags, 1], color=MARK, marker="x", s=18, linewidths=1)
    axes.set_aspect("equal", adjustable="datalim")


def _draw_histogram(axes: Axes, behind: Array, points: Array, flags: Array, colour: str) -> None:
    bins = scale_of(behind, points).bins(40)
    axes.hist([points[~flags, 0], points[flags, 0]], bins=bins, stacked=True, color=[colour, MARK])
    axes.hist(behind[:, 0], bins=bins, histtype="step", color="#5f6672")


def _name(axes: Axes, side: int, *, marked: bool) -> None:
    axes.scatter([], [], s=20, color=(MODEL, DATA)[side], label=("prior", "data")[side])
    axes.scatter([], [], s=20, color=GREY, label=("data", "prior")[side])
    if marked:
        label = ("in a hole", "out of reach")[side]
        axes.scatter([], [], s=20, color=MARK, marker="x", label=label)
    axes.legend(
        loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=3, columnspacing=1, handletextpad=0
    )


def _what(data: Dataset) -> str:
    return "draws" if len(data.shape) == 1 else "means"


def _some(data: Dataset) -> Tensor:
    return observations(data, evenly(data, min(len(data), MOST_POINTS))).x.cpu()
