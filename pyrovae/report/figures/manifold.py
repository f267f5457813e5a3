"""Picture of the decoded plane of a model with two latent dimensions."""

from __future__ import annotations

from matplotlib.figure import Figure

from pyrovae.data import Dataset
from pyrovae.exploration.manifold import Manifold
from pyrovae.report.figures.style import new_figure, styled
from pyrovae.report.figures.tiles import draw_tiles, shades
from pyrovae.report.figures.variables import named

CAPTION = (
    "The decoder's output at quantiles of the prior. If both latent dimensions are independent "
    "under the prior, every cell has the same probability under the model. Neighbours should be "
    "alike; at an abrupt change the model separates kinds of data, and blurred cells along it are "
    "latents of no observation."
)

TABLE_CAPTION = (
    "The decoder's output over the latent plane, a panel for each variable; axes are quantiles of "
    "the prior, so that equal areas have equal probabilities under the model."
)

TICKS = (0.05, 0.25, 0.5, 0.75, 0.95)

GAP = 4
"""Pixels between images: so little that a plane is seen, enough where digits fill their image."""

MOST_VARIABLES = 12
"""Most variables drawn for a table."""


@styled
def manifold(found: Manifold, data: Dataset) -> Figure:
    """One grid of images; for tables a map of each variable.

    Args:
        found: Result to draw.
        data: The data, as the model sees them.
    """
    return _draw_images(found, data) if data.are_images else _draw_maps(found, data)


def caption(data: Dataset) -> str:
    """Caption of the picture."""
    return CAPTION if data.are_images else TABLE_CAPTION


def _draw_images(found: Manifold, data: Dataset) -> Figure:
    images = shades(data, found.images)[0]
    size = len(images)
    height = 8.6 * min(1.5, images.shape[-2] / images.shape[-1])
    figure = new_figure(f"{data.name}: means of p(x | z) over the latent plane", height + 0.6)
    axes = figure.subplots()
    tiles = draw_tiles(axes, images.flip(0).flatten(0, 1), size, gap=GAP)
    across = [tiles.across(size * tick - 0.5) for tick in TICKS]
    upward = [tiles.down(size * (1 - tick) - 0.5) for tick in TICKS]
    axes.set_xticks(across, _percent())
    axes.set_yticks(upward, _percent())
    axes.tick_params(length=4)
    axes.set(xlabel=found.axes[0], ylabel=found.axes[1])
    return figure


def _draw_maps(found: Manifold, data: Dataset) -> Figure:
    values = found.images.flatten(2).numpy()
    count = min(values.shape[-1], MOST_VARIABLES)
    columns = min(count, 4)
    rows = -(-count // columns)
    title = f"{data.name}: means of p(x | z) over the latent plane"
    if count < values.shape[-1]:
        title += f", the first {count} of {values.shape[-1]} variables"
    figure = new_figure(title, 1.0 + rows * 6.4 / max(columns, 2))
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for number, axes in enumerate(panels.flat[:count]):
        drawn = axes.imshow(values[..., number], origin="lower", extent=(0, 1, 0, 1))
        axes.grid(visible=False)
        axes.set_title(named(data.shape, number, data.columns), size=10)
        axes.set_xticks([0.05, 0.5, 0.95], ["5 %", "50 %", "95 %"], size=8)
        axes.set_yticks([0.05, 0.5, 0.95], ["5 %", "50 %", "95 %"], size=8)
        figure.colorbar(drawn, ax=axes, shrink=0.75).ax.tick_params(labelsize=7)
    for axes in panels.flat[count:]:
        axes.set_axis_off()
    figure.supxlabel(found.axes[0], size="medium")
    figure.supylabel(found.axes[1], size="medium")
    return figure


def _percent() -> list[str]:
    return [f"{tick:.0%}".replace("%", " %") for tick in TICKS]
