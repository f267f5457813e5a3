"""Pictures of images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor
from torchvision.utils import make_grid

from pyrovae.data import Dataset
from pyrovae.figures.style import WIDTH, new_figure, styled

TITLE_HEIGHT = 0.5
"""Inches above the images."""

FINENESS = 64
"""Small images are enlarged to about this many pixels, so that gaps between them stay narrow."""

GAP = 4
"""Pixels between enlarged images."""


@styled
def draw_reconstructed_images(
    data: Dataset, x: Tensor, means: Tensor, columns: int = 10
) -> Figure:
    """Rows of data, each above the row of its reconstructions.

    Args:
        data: Where ``x`` is from.
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
    """A grid of the means ``(n, channels, height, width)`` of p(x | z) at codes of the prior.

    Args:
        data: Where ``x`` is from.
        x: Images that tell the range of intensities.
        means: What is shown.
        columns: Images in a row.
    """
    rows = -(-len(means) // columns)
    figure = new_figure(
        f"{data.name}: samples, means of p(x | z) at codes z from the prior",
        TITLE_HEIGHT + rows * tile_height(x, columns, WIDTH),
    )
    show(figure.subplots(), means, columns, intensities(data, x))
    return figure


def tile_height(x: Tensor, columns: int, width: float) -> float:
    """Inches that one image is high where ``columns`` of them share a width in inches."""
    return width / max(columns, 10) * x.shape[-2] / x.shape[-1]


def intensities(data: Dataset, x: Tensor) -> tuple[float, float]:
    """What is drawn black and what white: 0 and the largest level, or the range of ``x``."""
    return (x.min().item(), x.max().item()) if data.levels is None else (0.0, data.levels)


def are_images(data: Dataset) -> bool:
    """Whether observations are ``(channels, height, width)`` with one or three channels."""
    return len(data.shape) == 3 and data.shape[0] in (1, 3)


def show(axes: Axes, images: Tensor, columns: int, intensities: Sequence[float]) -> int:
    """Draw a grid of images with white gaps.

    Returns:
        Height of the grid in the units of the axes.
    """
    black, white = intensities
    shades = ((images - black) / ((white - black) or 1.0)).clamp(0, 1)
    times = -(-FINENESS // max(images.shape[-2:]))
    enlarged = shades.repeat_interleave(times, -1).repeat_interleave(times, -2)
    grid = make_grid(enlarged, nrow=columns, padding=GAP, pad_value=1.0)
    axes.imshow(np.moveaxis(grid.numpy(), 0, -1))
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set(xticks=[], yticks=[])
    return grid.shape[1]
