"""Picture of the effect of resampling rare observations."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase
from torch import Tensor

from pyrovae.data import Dataset
from pyrovae.exploration.debiasing import Debiasing
from pyrovae.report.figures.axis_range import Array, say_none
from pyrovae.report.figures.images import TITLE_HEIGHT, tile_height
from pyrovae.report.figures.style import DATA, GREY, MODEL, WIDTH, new_figure, styled
from pyrovae.report.figures.tables import draw_rows
from pyrovae.report.figures.tiles import intensities, show
from pyrovae.report.figures.variables import variables_in

CAPTION = (
    "Share of each class in the training data and among the draws of the second fit; how "
    "much log p(x) and the reconstruction of test data of each class change from the first fit to "
    "the second (bars: mean ± two standard errors; rare classes in orange); the training data "
    "that are drawn most and least often, and by which factor."
)

COLUMNS = 10
MOST_CLASSES = 20
"""Most classes that can be told apart side by side."""


@styled
def debiasing(found: Debiasing, data: Dataset) -> Figure:
    """Shares and differences by class, and data at either end of the sampling probabilities.

    Args:
        found: Result to draw.
        data: The training split, as the model sees it.
    """
    images = data.are_images
    below = 2 * (tile_height(found.most_likely, COLUMNS, WIDTH) + 0.45) if images else 3.2
    title = f"{data.name}: {found.title.lower()}"
    if 0 < len(found.classes) <= MOST_CLASSES:
        figure = new_figure(title, 3.2 + below + TITLE_HEIGHT)
        top, bottom = figure.subfigures(2, 1, squeeze=False, height_ratios=(3.2, below)).flat
        _draw_classes(top, found)
    else:
        if len(found.classes):
            title += f"\n({len(found.classes)} classes: too many to draw their shares)"
        figure = new_figure(title, below + TITLE_HEIGHT)
        bottom = figure
    if images:
        _draw_images(bottom, found, data)
    else:
        _draw_rows(bottom, found, data)
    return figure


def _draw_images(figure: FigureBase, found: Debiasing, data: Dataset) -> None:
    panels = figure.subplots(2, 1)
    for axes, (name, x, factor) in zip(panels, _ends(found), strict=True):
        show(axes, x, COLUMNS, intensities(data, x))
        axes.set_title(f"{name} {_times(factor)}")


def _ends(found: Debiasing) -> list[tuple[str, Tensor, Tensor]]:
    """Name, data and sampling factors at either end of the sampling probabilities."""
    most = found.most_likely[:COLUMNS], found.most_factor[:COLUMNS]
    least = found.least_likely[:COLUMNS], found.least_factor[:COLUMNS]
    return [("drawn most:", *most), ("drawn least:", *least)]


def _times(factor: Tensor) -> str:
    low, high = f"{factor.min():.2g}", f"{factor.max():.2g}"
    often = low if low == high else f"{low} to {high}"
    return f"{often} times as often as under equal chances"


def _draw_classes(figure: FigureBase, found: Debiasing) -> None:
    shares, log_prob, reconstruction = figure.subplots(1, 3)
    places = np.arange(len(found.classes))
    before, after = found.share_before.numpy(), found.share_after.numpy()
    shares.bar(places - 0.2, 100 * before, 0.38, color=GREY)
    shares.bar(places + 0.2, 100 * after, 0.38, color=_colours(found))
    shares.set(title="share of the draws, %")
    shares.legend([*shares.containers], ["equal chances", "by rarity"], fontsize="small")
    shares.margins(y=0.25)
    for axes, name, values in (
        (log_prob, "log p(x), nats", found.log_prob),
        (reconstruction, "reconstruction, nats", found.reconstruction),
    ):
        _draw_differences(axes, found, values.numpy())
        axes.set(title=f"change of {name}")
    for axes in (shares, log_prob, reconstruction):
        axes.set_xticks(places, [str(label) for label in found.classes.tolist()])
        axes.set_xlabel("class")
        axes.grid(visible=False, axis="x")


def _draw_differences(axes: Axes, found: Debiasing, values: Array) -> None:
    if not np.isfinite(values).all():
        say_none(axes, "not known:\nthe guide is a point")
        return
    means, errors = np.array(found.per_class(torch.from_numpy(values))).T
    places = np.arange(len(means))
    axes.bar(places, means, 0.7, color=_colours(found), yerr=2 * errors, ecolor="black")
    axes.axhline(0, color="black", linewidth=1)


def _colours(found: Debiasing) -> list[str]:
    return [MODEL if label in found.rare else DATA for label in found.classes.tolist()]


def _draw_rows(figure: FigureBase, found: Debiasing, data: Dataset) -> None:
    """Draw data that are no images, variables from left to right."""
    axes, variables = figure.subplots(), variables_in(data)
    for (name, x, factor), colour in zip(_ends(found), (MODEL, DATA), strict=True):
        labels = [f"{name} {_times(factor)}", *[None] * (len(x) - 1)]
        colours = [colour] * len(x)
        draw_rows(axes, variables, x.flatten(1), colours, labels, alpha=0.6, markersize=3)
    axes.set(xlabel=variables.label, ylabel=variables.unit)
    figure.legend(loc="outside lower center")
