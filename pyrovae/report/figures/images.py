"""Pictures of images."""

from __future__ import annotations

import torch
from matplotlib.figure import Figure
from torch import Tensor

from pyrovae.data import Dataset
from pyrovae.report.figures.style import WIDTH, new_figure, styled
from pyrovae.report.figures.tiles import intensities, show

TITLE_HEIGHT = 0.5
"""Inches above the images."""


@styled
def draw_reconstructed_images(
    data: Dataset, x: Tensor, means: Tensor, columns: int = 10
) -> Figure:
    """Rows of data, each above the row of its reconstructions.

    Args:
        data: Data set of ``x``.
        x: Images ``(n, channels, height, width)``.
        means: Their reconstructions, of the same shape.
        columns: Images in a row; a last row that is not full is left out.
    """
    columns = min(columns, len(x))
    shown = len(x) // columns * columns
    pairs = zip(x[:shown].split(columns), means[:shown].split(columns), strict=True)
    blocks = [torch.cat(pair) for pair in pairs]
    figure = new_figure(
        f"{data.name}: test data and their reconstructions",
        TITLE_HEIGHT + len(blocks) * (2 * tile_height(x, columns, WIDTH - 1.3) + 0.1),
    )
    for axes, block in zip(figure.subplots(len(blocks), squeeze=False).flat, blocks, strict=True):
        height = show(axes, block, columns, intensities(data, x))
        axes.set_yticks([height * 0.25, height * 0.75], ["data", "reconstruction"])
    return figure


@styled
def draw_sampled_images(data: Dataset, x: Tensor, means: Tensor, columns: int = 12) -> Figure:
    """A grid of the means ``(n, channels, height, width)`` of p(x | z) at latents of the prior.

    Args:
        data: Data set of ``x``.
        x: Images that give the range of intensities.
        means: Images to show.
        columns: Images in a row.
    """
    rows = -(-len(means) // columns)
    figure = new_figure(
        f"{data.name}: samples, means of p(x | z) at latents z from the prior",
        TITLE_HEIGHT + rows * tile_height(x, columns, WIDTH),
    )
    show(figure.subplots(), means, columns, intensities(data, x))
    return figure


def tile_height(x: Tensor, columns: int, width: float) -> float:
    """Inches that one image is high where ``columns`` of them share a width in inches."""
    return width / max(columns, 10) * x.shape[-2] / x.shape[-1]
