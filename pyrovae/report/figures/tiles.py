"""Grids of images, and the position of each image in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from numpy.typing import NDArray
from torch import Tensor

from pyrovae.data import Dataset

FINENESS = 64
"""Small images are enlarged to about this many pixels, so that gaps between them stay narrow."""

GAP = 4
"""Pixels between enlarged images."""


class Tiles(NamedTuple):
    """Positions of images in a grid, in the units of the axes.

    Attributes:
        width: From the left edge of one image to that of the next.
        height: From the upper edge of one to that of the next.
        gap: Between two images.
    """

    width: int
    height: int
    gap: int

    def across(self, column: int | float) -> float:
        """The middle of a column."""
        return self.gap / 2 - 0.5 + (column + 0.5) * self.width

    def down(self, row: int | float) -> float:
        """The middle of a row."""
        return self.gap / 2 - 0.5 + (row + 0.5) * self.height


def intensities(data: Dataset, x: Tensor) -> tuple[float, float]:
    """Intensities drawn black and white: 0 and the largest level, or the range of ``x``."""
    return (x.min().item(), x.max().item()) if data.levels is None else (0.0, data.levels)


def shades(data: Dataset, *images: Tensor) -> list[Tensor]:
    """Images as shades from 0 to 1, all on one scale: the data's own, or the range of them all."""
    ends = intensities(data, torch.cat([image.flatten() for image in images]))
    return [_shaded(image, ends) for image in images]


def show(axes: Axes, images: Tensor, columns: int, intensities: Sequence[float]) -> int:
    """Draw a grid of images with white gaps, on a scale from black to white.

    Returns:
        Height of the grid in the units of the axes.
    """
    tiles = draw_tiles(axes, _shaded(images, intensities), columns)
    return -(-len(images) // columns) * tiles.height + GAP


def arrange(shaded: Tensor, columns: int, gap: int) -> NDArray[Any]:
    """Shades ``(n, channels, height, width)`` as one image ``(rows, columns, 3)``, white gaps."""
    times = enlargement(shaded)
    enlarged = shaded.repeat_interleave(times, -1).repeat_interleave(times, -2)
    count, _, height, width = enlarged.shape
    columns = min(columns, count)
    rows = -(-count // columns)
    # torchvision's make_grid does the same, and takes two seconds to import.
    grid = np.ones((rows * (height + gap) + gap, columns * (width + gap) + gap, 3), np.float32)
    for number, image in enumerate(enlarged.movedim(1, -1).numpy()):
        row, column = divmod(number, columns)
        top, left = row * (height + gap) + gap, column * (width + gap) + gap
        grid[top : top + height, left : left + width] = image
    return grid


def enlargement(shaded: Tensor) -> int:
    """Factor by which small images are enlarged, so that gaps between them stay narrow."""
    return -(-FINENESS // max(shaded.shape[-2:]))


def draw_tiles(axes: Axes, shaded: Tensor, columns: int, gap: int = GAP) -> Tiles:
    """Draw shades ``(n, channels, height, width)`` without ticks.

    Args:
        axes: Axes to draw on.
        shaded: From :func:`shades`.
        columns: Images in a row.
        gap: White pixels between enlarged images.
    """
    axes.imshow(arrange(shaded, columns, gap))
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set(xticks=[], yticks=[])
    times = enlargement(shaded)
    height, width = shaded.shape[-2:]
    return Tiles(width * times + gap, height * times + gap, gap)


def _shaded(images: Tensor, intensities: Sequence[float]) -> Tensor:
    black, white = intensities
    return ((images - black) / ((white - black) or 1.0)).clamp(0, 1).float()
