"""Animation of latent traversals."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from pyrovae.data import Dataset
from pyrovae.exploration.traversal import Traversals
from pyrovae.report.figures.style import WIDTH, new_figure, styled
from pyrovae.report.figures.tiles import shades
from pyrovae.report.figures.traversals import named, quantile

CAPTION = (
    "The latent traversals as an animation: in each image one latent dimension moves through the "
    "quantiles of the prior and back, all at the same time."
)

LARGEST = 1_000_000
"""Bytes."""

QUALITIES = ((80, 64), (80, 16), (60, 16), (40, 8))
"""Pixels per inch, and colours: the first with which the file is small enough."""

FRAME_TIME = 120
"""Milliseconds."""


KNOB = (48, 48, 48)
"""Grey, so that pictures of grey images need no other colour."""


def write_gif(found: Traversals, data: Dataset, path: Path) -> Path | None:
    """Write an animation: all dimensions side by side, moving through the quantiles and back.

    Args:
        found: Result to draw.
        data: Data set of the observation, as the model sees it.
        path: File that ends in ``.gif``.

    Returns:
        The file; None for tables, whose picture shows all quantiles at once.
    """
    if not data.are_images:
        return None
    images = shades(data, found.images)[0]
    for dpi, colours in QUALITIES:
        film = _film(_frames(found, data, images, dpi), colours)
        path.write_bytes(film)
        if len(film) < LARGEST:
            break
    return path


def _frames(found: Traversals, data: Dataset, images: Tensor, dpi: int) -> list[NDArray[Any]]:
    """Draw frames ``(height, width, 3)``; only the moving part is drawn again, which is faster."""
    figure, tiles, slider = _draw_still(found, data, images, dpi)
    canvas: Any = figure.canvas
    canvas.draw()
    still = np.asarray(canvas.buffer_rgba())[..., :3]
    boxes = [_box(axes, len(still)) for axes in tiles]
    left, top, right, bottom = _box(slider, len(still))
    steps = images.shape[1]
    frames = []
    for step in [*range(steps), *range(steps - 2, 0, -1)]:
        picture = Image.fromarray(still)
        for box, image in zip(boxes, images[:, step], strict=True):
            picture.paste(_resized(image, box), box)
        place = round(left + (right - left) * step / (steps - 1))
        knob = (place - dpi // 20, top, place + dpi // 20, bottom)
        picture.paste(KNOB, knob)
        frames.append(np.asarray(picture))
    return frames


@styled
def _draw_still(
    found: Traversals, data: Dataset, images: Tensor, dpi: int
) -> tuple[Figure, list[Axes], Axes]:
    """Draw the static part: names, axes for an image of each dimension, and a scale below."""
    columns = min(found.shown, 8 if found.shown > 10 else 5)
    rows = -(-found.shown // columns)
    aspect = images.shape[-2] / images.shape[-1]
    tile = WIDTH / max(columns, 5) * aspect
    figure = new_figure(f"{data.name}: latent traversals", rows * (tile + 0.35) + 1.3)
    figure.set_dpi(dpi)
    grid = figure.add_gridspec(rows + 1, columns, height_ratios=[*[tile] * rows, 0.1])
    tiles = [figure.add_subplot(grid[divmod(row, columns)]) for row in range(found.shown)]
    for row, axes in enumerate(tiles):
        axes.set_axis_off()
        axes.set(xlim=(0, 1), ylim=(0, 1), box_aspect=aspect)
        colour = "black" if found.active[row] else "#8c8c8c"
        text = named(found, row).replace("  ", "\n", 1)
        axes.set_title(text, size=8, color=colour, pad=3)
    slider = figure.add_subplot(grid[rows, :])
    slider.set(xlim=(0, 1), yticks=[], xlabel="quantile of the prior")
    ends = found.probabilities[[0, -1]]
    slider.spines[:].set_color("#808080")
    slider.set_xticks([0, 0.5, 1], [quantile(p) for p in (ends[0], ends.mean(), ends[1])])
    return figure, tiles, slider


def _box(axes: Axes, height: int) -> tuple[int, int, int, int]:
    """Left, upper, right and lower edge of axes in pixels."""
    extent = axes.get_window_extent()
    return round(extent.x0), height - round(extent.y1), round(extent.x1), height - round(extent.y0)


def _resized(image: Tensor, box: tuple[int, int, int, int]) -> Image.Image:
    """An image ``(channels, height, width)`` of shades as large as a box: pixels stay pixels."""
    levels = (255 * image).round().to(torch.uint8).expand(3, *image.shape[1:])
    picture = Image.fromarray(np.ascontiguousarray(np.moveaxis(levels.numpy(), 0, -1)))
    left, top, right, bottom = box
    grows = right - left >= picture.width
    method = Image.Resampling.NEAREST if grows else Image.Resampling.BOX
    return picture.resize((right - left, bottom - top), method)


def _film(frames: list[NDArray[Any]], colours: int) -> bytes:
    """Encode with one palette for all frames, so that the static part takes no space."""
    height, width = frames[0].shape[:2]
    strip = _reduced(np.concatenate(frames), colours)
    cut = [strip.crop((0, k * height, width, (k + 1) * height)) for k in range(len(frames))]
    film = io.BytesIO()
    options: dict[str, Any] = {"save_all": True, "duration": FRAME_TIME, "loop": 0}
    cut[0].save(film, "GIF", append_images=cut[1:], **options)
    return film.getvalue()


def _reduced(picture: NDArray[Any], colours: int) -> Image.Image:
    """Reduce an image to a number of colours, or of greys if it has no others."""
    if (picture == picture[..., :1]).all():
        step = 255 / (colours - 1)
        levels = np.round(np.round(np.arange(256) / step) * step).astype(np.uint8)
        return Image.fromarray(levels[picture[..., 0]])
    octree = Image.Quantize.FASTOCTREE  # median cut takes a minute for many colours
    return Image.fromarray(picture).quantize(colours, method=octree, dither=Image.Dither.NONE)
