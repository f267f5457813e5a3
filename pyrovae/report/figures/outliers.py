"""Pictures of out-of-distribution scores of two data sets."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from pyrovae.data import Dataset
from pyrovae.exploration.outliers import Outliers, Scored
from pyrovae.report.figures.axis_range import Array, scale_of
from pyrovae.report.figures.checks import CaptionedFigure
from pyrovae.report.figures.style import DATA, GREY, MODEL, WIDTH, new_figure, styled
from pyrovae.report.figures.tiles import intensities, show
from pyrovae.report.figures.variables import Variables, named, variables_of

CAPTION = (
    "Above, the AUROC of each score: the probability that an observation from outside has the "
    "higher score, with 95 % intervals. Below 0.5 the score ranks the outside data as less "
    "unusual than the inside data. Below, the scores of both sets, in nats; higher is more "
    "unusual. Scores whose histograms do not overlap find every outlier."
)
CAPTION_OF_STRANGEST = (
    "The observations of highest score in either set, the highest on the left. Those inside would "
    "be the false alarms of a user of the score."
)
CAPTION_OF_ROWS = (
    "The observations of highest score in either set. The grey band contains nine tenths of the "
    "inside data, variable by variable; for two variables all data are drawn as small points."
)

BINS = 30
COLUMNS = 4
"""Histograms side by side."""

IMAGES, ROWS = 7, 2
"""Images, and rows of a table, shown of the highest scores of each set."""


def outliers(found: Outliers, data: Dataset) -> list[CaptionedFigure]:
    """The scores, and the observations of highest score in either set.

    Args:
        found: Result to draw.
        data: Data of the kind inside, which give the range of intensities.
    """
    if data.are_images:
        return [
            CaptionedFigure(scores(found), CAPTION),
            CaptionedFigure(strangest_images(found, data), CAPTION_OF_STRANGEST),
        ]
    return [
        CaptionedFigure(scores(found), CAPTION),
        CaptionedFigure(strangest_rows(found), CAPTION_OF_ROWS),
    ]


@styled
def scores(found: Outliers) -> Figure:
    """AUROC of each score, and histograms of both sets."""
    count = len(found.scored)
    rows = -(-count // COLUMNS)
    heights = [0.75 + 0.27 * count, 1.9 * rows]
    ours, theirs = map(_plain, found.names)
    title = f"Outliers: {found.names[1]}, seen by a model of {found.names[0]}"
    figure = new_figure(title, 0.9 + sum(heights))
    parts: Any = figure.subfigures(2, 1, height_ratios=heights)
    above, below = parts
    _draw_areas(above.subplots(), found.scored)
    panels = below.subplots(rows, min(count, COLUMNS), squeeze=False)
    for axes, scored in zip(panels.flat, found.scored, strict=False):
        _draw_histograms(axes, scored, (ours, theirs))
    for axes in panels.flat[count:]:
        axes.set_axis_off()
    for axes in panels[:, 0]:
        axes.set_ylabel("share of data")
    below.supxlabel("score in nats; higher is more unusual", fontsize="medium")
    handles = panels[0, 0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=2)
    return figure


@styled
def strangest_images(found: Outliers, data: Dataset) -> Figure:
    """Images of highest score, a row for each score: inside on the left, outside on the right."""
    tile = (WIDTH - 1.6) / (2 * IMAGES) * data.shape[1] / data.shape[2]
    figure = new_figure("The highest scores in either set", 0.85 + tile * len(found.scored))
    picked = [found.strangest(scored, IMAGES) for scored in found.scored]
    sides = zip(figure.subplots(1, 2), found.names, (found.inside, found.outside), strict=True)
    for side, (axes, name, x) in enumerate(sides):
        index = np.concatenate([pair[side] for pair in picked])
        images = x[torch.from_numpy(index)]
        columns = len(picked[0][side])
        height = show(axes, images, columns, intensities(data, x))
        axes.set_title(_plain(name))
        if side == 0:
            places = (np.arange(len(picked)) + 0.5) * height / len(picked)
            axes.set_yticks(places, [_on_two_lines(s.definition.label) for s in found.scored])
    return figure


@styled
def strangest_rows(found: Outliers) -> Figure:
    """A panel for each score: observations as lines over the variables, or as points."""
    count = len(found.scored)
    rows = -(-count // COLUMNS)
    figure = new_figure("The highest scores in either set", 1.2 + 2.1 * rows)
    panels = figure.subplots(rows, min(count, COLUMNS), squeeze=False, sharex=True, sharey=True)
    sets = found.inside.flatten(1), found.outside.flatten(1)
    flat = sets[0].shape[1] == 2
    variables = variables_of(found.inside)
    draw = _draw_points if flat else partial(_draw_rows, variables=variables)
    for number, (axes, scored) in enumerate(zip(panels.flat, found.scored, strict=False)):
        draw(axes, sets, found.strangest(scored, ROWS), found.names)
        axes.set_title(scored.definition.label)
        if number + COLUMNS >= count:  # nothing below
            axes.tick_params(labelbottom=True)
            axes.set_xlabel(named(variables.shape, 0) if flat else variables.label)
    for axes in panels.flat[count:]:
        axes.set_axis_off()
    for axes in panels[:, 0]:
        axes.set_ylabel(named(variables.shape, 1) if flat else variables.unit)
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _draw_areas(axes: Axes, scored: tuple[Scored, ...]) -> None:
    for place, score in enumerate(scored):
        found = score.separation
        low, high = found.auroc_interval
        axes.plot([low, high], [place, place], color="black", linewidth=2.5, alpha=0.4)
        axes.plot(found.auroc, place, "o", color="black", markersize=6)
        axes.annotate(
            f"{found.auroc:.3f}", (1.01, place), xycoords=("axes fraction", "data"), va="center"
        )
    axes.axvline(0.5, color="black", linewidth=1, linestyle=":")
    axes.set_yticks(range(len(scored)), [score.definition.label for score in scored])
    axes.set(xlim=(-0.02, 1.02), ylim=(len(scored) - 0.5, -0.5))
    axes.set_xlabel("AUROC: 0.5 says nothing, 1 finds every outlier")
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")


def _draw_histograms(axes: Axes, scored: Scored, names: tuple[str, str]) -> None:
    scale = scale_of(scored.inside, scored.outside)
    sides = zip((scored.inside, scored.outside), names, (DATA, MODEL), strict=True)
    for values, name, colour in sides:
        shares = np.full(len(values), 1 / len(values))
        axes.hist(values, scale.bins(BINS), weights=shares, color=colour, alpha=0.6, label=name)
    axes.set_title(
        f"{scored.definition.label}\nAUROC {scored.separation.auroc:.3f}", fontsize=10.5
    )
    axes.xaxis.set_major_locator(MaxNLocator(nbins=3))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=3))
    axes.grid(visible=False, axis="x")


def _draw_rows(
    axes: Axes,
    sets: tuple[Tensor, Tensor],
    strangest: tuple[Array, Array],
    names: tuple[str, str],
    *,
    variables: Variables,
) -> None:
    """Draw the rows of highest score in both sets over the variables, at most the first few."""
    inside, outside = (variables.values(x) for x in sets)
    places = variables.places.numpy()
    low, high = inside.quantile(torch.tensor([0.05, 0.95]).double(), 0)
    band: dict[str, Any] = {"color": GREY, "alpha": 0.5, "label": f"most of {_plain(names[0])}"}
    style: dict[str, Any] = {"linewidth": 1.1, "marker": "o", "markersize": 2.5, "alpha": 0.9}
    if variables.are_columns:  # which have no order
        axes.vlines(places, low, high, linewidth=5, **band)
        style["linestyle"] = ""
    else:
        axes.fill_between(places, low, high, linewidth=0, **band)
    kinds = zip((inside, outside), strangest, (DATA, MODEL), names, strict=True)
    for x, index, colour, name in kinds:
        for number, row in enumerate(x[index]):
            label = None if number else f"highest of {_plain(name)}"
            axes.plot(places, row, color=colour, label=label, **style)
    variables.tick(axes)


def _draw_points(
    axes: Axes, sets: tuple[Tensor, Tensor], strangest: tuple[Array, Array], names: tuple[str, str]
) -> None:
    """Draw both sets in the plane, with large markers for the highest scores."""
    for x, index, colour, name in zip(sets, strangest, (DATA, MODEL), names, strict=True):
        axes.scatter(x[:, 0], x[:, 1], s=5, color=colour, alpha=0.3, linewidths=0)
        label = f"highest of {_plain(name)}"
        axes.scatter(x[index, 0], x[index, 1], s=30, color=colour, label=label)


def _on_two_lines(label: str) -> str:
    first, comma, rest = label.partition(", ")
    return f"{first},\n{rest}" if comma else label.replace(" ", "\n") if len(label) > 18 else label


def _plain(name: str) -> str:
    """A name in which dollar signs are dollar signs."""
    return name.replace("$", r"\$")
