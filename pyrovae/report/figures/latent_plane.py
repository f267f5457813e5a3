"""Picture of the latents in a plane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from torch import Tensor

from pyrovae.data import Dataset
from pyrovae.data.examples import classes, evenly
from pyrovae.errors import DataError
from pyrovae.evaluation.latent_means import codes
from pyrovae.programs.autoencoder import Autoencoder
from pyrovae.report.figures.style import DATA, new_figure, styled

Colour = Sequence[Any] | NDArray[Any] | Tensor

BINS = 40
MOST_POINTS = 4000
FEW_POINTS = 1000
"""Up to here points are drawn larger."""

MOST_IN_LEGEND = 20
"""More classes than these get colours, but no names."""


class Groups(NamedTuple):
    """Points by class.

    Attributes:
        names: The classes that occur.
        members: Class of each point, ``(n,)``, an index into ``names``.
        colours: One for each class, red, green, blue and opacity.
    """

    names: list[Any]
    members: Tensor
    colours: list[Any]


@styled
def latent(autoencoder: Autoencoder, data: Dataset, colour: Colour | None = None) -> Figure:
    """Means of q(z | x) in two dimensions, coloured by class if there are classes.

    Two latent dimensions are drawn as they are, more are projected onto their first two
    principal components, and one is drawn as a histogram. At most 4000 points.

    Args:
        autoencoder: Model and guide.
        data: The split that is shown, as loaded or as the model sees it.
        colour: In place of the classes, numbers or labels, one for each observation.

    Raises:
        DataError: There are more or fewer of these than observations.
    """
    figure = new_figure(f"{data.name}: latents of test data, means of q(z | x)", 6.2)
    draw_latents(figure.subplots(), autoencoder, data, colour)
    return figure


@styled
def draw_latents(
    axes: Axes, autoencoder: Autoencoder, data: Dataset, colour: Colour | None = None
) -> None:
    """The content of :func:`latent`, on axes of a figure of one's own."""
    given = None if colour is None else _one_each(colour, data)
    index = evenly(data, min(len(data), MOST_POINTS))
    z = codes(autoencoder, replace(data, rows=data.rows[index.to(data.rows.device)]))
    values: Tensor | NDArray[Any] | None = (
        classes(data, index) if given is None else given[index.numpy()]
    )
    if isinstance(values, np.ndarray) and values.dtype.kind == "f":
        _draw_numbers(axes, z, values)
        return
    groups = None if values is None else group(values)
    if z.shape[1] == 1:
        _draw_histogram(axes, z.flatten(), groups)
    else:
        _draw_plane(axes, z, groups)
    if groups is not None and len(groups.names) <= MOST_IN_LEGEND:
        place: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5)}
        axes.legend(title="class" if colour is None else None, markerscale=1.5, **place)
    elif groups is not None:
        axes.set_title(f"a colour for each of {len(groups.names)} classes")


def group(labels: Tensor | NDArray[Any]) -> Groups:
    """Group points ``(n,)`` by class, with a colour for each class."""
    names, inverse = np.unique(np.asarray(labels), return_inverse=True)
    members = torch.as_tensor(inverse)
    count = len(names)
    if count <= MOST_IN_LEGEND:
        palette = matplotlib.colormaps["tab10" if count <= 10 else "tab20"]
        return Groups(names.tolist(), members, [palette(number) for number in range(count)])
    palette = matplotlib.colormaps["turbo"]
    return Groups(names.tolist(), members, [palette(number / count) for number in range(count)])


def _one_each(colour: Colour, data: Dataset) -> NDArray[Any]:
    """Labels or numbers, one for each observation; whole numbers are labels if they are few."""
    values = np.asarray(colour)
    if values.shape != (len(data),):
        raise DataError(
            f"colour has shape {values.shape}, and {data.name} has {len(data)} observations: give "
            "one number or label for each"
        )
    if values.dtype.kind in "iu" and len(np.unique(values)) > MOST_IN_LEGEND:
        return values.astype(float)
    return values.astype(float) if values.dtype.kind == "f" else values


def _draw_numbers(axes: Axes, z: Tensor, values: NDArray[Any]) -> None:
    """Points with a colour bar; a single latent over the numbers."""
    size = 9 if len(z) > FEW_POINTS else 24
    if z.shape[1] == 1:
        axes.scatter(z.flatten(), values, s=size, color=DATA, alpha=0.7, linewidths=0)
        axes.set(xlabel="z[0]", ylabel="colour")
        return
    points, (horizontal, vertical) = project(z)
    style: dict[str, Any] = {"cmap": "viridis", "alpha": 0.7, "linewidths": 0}
    drawn = axes.scatter(points[:, 0], points[:, 1], s=size, c=values, **style)
    axes.figure.colorbar(drawn, ax=axes, label="colour")
    axes.set_aspect("equal", adjustable="datalim")
    axes.set(xlabel=horizontal, ylabel=vertical)


def project(z: Tensor) -> tuple[Tensor, list[str]]:
    """Project latents ``(n, dims)`` to a plane ``(n, 2)``; return also the names of its axes."""
    if z.shape[1] == 2 or len(z) < 3 or not z.var(0).sum() > 0:
        return z[:, :2], ["z[0]", "z[1]"]
    centred = z - z.mean(0)
    _, lengths, directions = torch.linalg.svd(centred, full_matrices=False)
    # A direction and its opposite are as good; the largest entry is made positive.
    largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
    points = centred @ (directions * largest.sign())[:2].T
    shares = zip(("first", "second"), lengths**2 / (lengths**2).sum(), strict=False)
    return points, [f"{n} principal component ({share:.0%} of variance)" for n, share in shares]


def _draw_plane(axes: Axes, z: Tensor, groups: Groups | None) -> None:
    points, (horizontal, vertical) = project(z)
    size = 9 if len(points) > FEW_POINTS else 24
    colours = DATA if groups is None else [groups.colours[m] for m in groups.members]
    axes.scatter(points[:, 0], points[:, 1], s=size, c=colours, alpha=0.7, linewidths=0)
    axes.set_aspect("equal", adjustable="datalim")
    axes.set(xlabel=horizontal, ylabel=vertical)
    if groups is not None and len(groups.names) <= MOST_IN_LEGEND:
        _name_classes(axes, points, groups)


def _name_classes(axes: Axes, points: Tensor, groups: Groups) -> None:
    """Legend entries, and each name at the median of its class, below those already there."""
    room = 0.05 * float((points.amax(0) - points.amin(0)).max())
    written: list[Tensor] = []
    for number, (name, colour) in enumerate(zip(groups.names, groups.colours, strict=True)):
        axes.scatter([], [], color=colour, label=str(name))
        centre = points[groups.members == number].quantile(0.5, 0)
        near = sum(bool((centre - other).norm() <= room) for other in written)
        _write(axes, str(name), centre, near)
        written.append(centre)


def _write(axes: Axes, text: str, centre: Tensor, near: int) -> None:
    """Write a name at its place, moved down by a line for each name that is near."""
    x, y = centre.tolist()
    axes.annotate(
        text,
        (x, y),
        (0, -14 * near),
        textcoords="offset points",
        size=15,
        weight="bold",
        ha="center",
        va="center",
        path_effects=[withStroke(linewidth=4, foreground="white")],
    )


def _draw_histogram(axes: Axes, z: Tensor, groups: Groups | None) -> None:
    axes.set(xlabel="z[0]", ylabel="number of test data")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    if groups is None:
        axes.hist(z, bins=BINS, color=DATA)
        return
    members = [z[groups.members == number] for number in range(len(groups.names))]
    names = [str(name) for name in groups.names]
    axes.hist(members, bins=BINS, stacked=True, color=groups.colours, label=names)
