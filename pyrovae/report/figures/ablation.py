"""Picture of the effect of regularisation: models side by side, a column for each."""

from __future__ import annotations

from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from pyrovae.data import Dataset
from pyrovae.data.examples import evenly
from pyrovae.evaluation.batches import observations
from pyrovae.evaluation.results import percent
from pyrovae.exploration.ablation import Ablation, Column
from pyrovae.report.figures.axis_range import marker_size, scale_of
from pyrovae.report.figures.latent_plane import BINS, MOST_IN_LEGEND, Groups, group, project
from pyrovae.report.figures.style import DATA, GREY, MODEL, WIDTH, new_figure, styled
from pyrovae.report.figures.tables import draw_intervals, draw_rows
from pyrovae.report.figures.tiles import intensities, show
from pyrovae.report.figures.variables import variables_in

CAPTION = (
    "The same network and the same data, with less and with more regularisation. Latents: test "
    "data by class, in front of draws of the prior (grey); every panel has its own scale. Lines: "
    "decoded interpolations between two observations in equal steps of the latent; where one step "
    "is much larger than the mean, the space is not smooth. Samples: decoded draws of the prior. "
    "Out of reach: latents of data where the prior hardly ever draws. Holes: draws of the prior "
    "where there are hardly any latents of data. Without regularisation the latents do not "
    "follow the prior; with too much of it they equal the prior and carry no information about "
    "the data."
)

NUMBERS_HEIGHT, PLANE_HEIGHT = 0.95, 2.1
"""Inches."""

MARGIN = 0.45
"""Inches beside a panel, for the numbers of its axis."""

SHOWN_POINTS = 6
"""Most points shown of a line."""

SHOWN_DRAWS = 500
"""Most draws of the prior shown behind the latents."""

MOST_COMPARED = 500


@styled
def ablation(found: Ablation, data: Dataset) -> Figure:
    """Latents, lines between data, samples and numbers, a column for each model.

    Args:
        found: Result of :func:`pyrovae.exploration.ablation.ablate`.
        data: The test split, as the models see it.
    """
    columns = len(found.columns)
    width = (WIDTH - 0.4) / columns - MARGIN
    heights = [NUMBERS_HEIGHT, PLANE_HEIGHT, *_heights(found, data, width)]
    figure = new_figure(
        f"{data.name}: the same network, regularised by different amounts", 1.4 + sum(heights)
    )
    panels = figure.subplots(4, columns, height_ratios=heights, squeeze=False)
    groups = None if found.labels is None else group(found.labels)
    x = observations(data, evenly(data, min(len(data), MOST_COMPARED))).x.cpu()
    for number, (name, column) in enumerate(found.columns.items()):
        _draw_numbers(panels[0, number], name, column, min(8.5, 34 / columns))
        _draw_codes(panels[1, number], column, groups)
        _draw_lines(panels[2, number], column, data, x)
        _draw_samples(panels[3, number], column, data, x)
    for axes, label in zip(panels[1:, 0], ("latents", "lines", "samples"), strict=True):
        axes.set_ylabel(label)
    if groups is not None and len(groups.names) > MOST_IN_LEGEND:
        panels[1, 0].set_title(f"a colour for each of {len(groups.names)} classes", fontsize=8)
    elif groups is not None:
        for class_name, colour in zip(groups.names, groups.colours, strict=True):
            panels[1, 0].scatter([], [], color=colour, label=str(class_name))
        panels[1, 0].scatter([], [], color=GREY, label="prior")
        handles = panels[1, 0].get_legend_handles_labels()
        figure.legend(
            *handles, loc="outside lower center", ncols=11, columnspacing=1, handletextpad=0
        )
    return figure


def _heights(found: Ablation, data: Dataset, width: float) -> tuple[float, float]:
    """Heights of lines and samples, in inches."""
    if not data.are_images:
        return 1.8, 1.8
    shape = data.shape[-2] / data.shape[-1]
    first = next(iter(found.columns.values()))
    count = len(first.samples.shown)
    across = _across(count)
    rows = -(-count // across)
    lines = len(first.paths) * width / SHOWN_POINTS * shape
    return lines, rows * width / across * shape


def _across(count: int) -> int:
    """Samples in a row, so that the grid is about square."""
    return max(1, int(np.ceil(count**0.5)))


def _draw_numbers(axes: Axes, name: str, column: Column, size: float) -> None:
    axes.set_axis_off()
    axes.set_title(name, parse_math=False, weight="bold")
    text = [f"reconstruction {column.reconstruction.value:.1f} nats"]
    if column.kl is None or column.elbo is None:
        text.append("KL: none, the guide is a point")
    else:
        text.append(f"KL {column.kl.value:.1f}, ELBO {column.elbo.value:.1f} nats")
    text += [
        f"{column.active} of {column.dims} dimensions active",
        f"out of reach {percent(column.missed.value)}, holes {percent(column.holes.value)}",
        f"largest step {column.largest_step.value:.1f} × mean",
    ]
    axes.text(
        0.5,
        1.0,
        "\n".join(text).replace("-", "−"),
        transform=axes.transAxes,
        ha="center",
        va="top",
        fontsize=size,
        linespacing=1.35,
    )


def _draw_codes(axes: Axes, column: Column, groups: Groups | None) -> None:
    prior = column.samples.prior_codes[:SHOWN_DRAWS]
    codes = column.codes.double()
    axes.tick_params(labelsize=8)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    if column.dims == 1:
        _draw_histogram(axes, codes.flatten(), prior.flatten(), groups)
        return
    points, _ = project(torch.cat([codes, prior]))
    placed, behind = points.split([len(codes), len(prior)])
    if column.dims > 2:
        axes.set_xlabel("principal components", fontsize=8)
    style: dict[str, Any] = {"linewidths": 0, "s": marker_size(4 * len(codes))}
    axes.scatter(behind[:, 0], behind[:, 1], color=GREY, alpha=0.5, **style)
    colours = DATA if groups is None else [groups.colours[m] for m in groups.members]
    axes.scatter(placed[:, 0], placed[:, 1], c=colours, alpha=0.8, **style)
    axes.set_aspect("equal", adjustable="datalim")


def _draw_histogram(axes: Axes, codes: Tensor, prior: Tensor, groups: Groups | None) -> None:
    bins = scale_of(codes.numpy(), prior.numpy()).bins(BINS)
    members, colours = [codes], [DATA]
    if groups is not None:
        members = [codes[groups.members == number] for number in range(len(groups.names))]
        colours = groups.colours
    axes.hist(
        [part.numpy() for part in members], bins=bins, stacked=True, color=colours, density=True
    )
    axes.hist(prior.numpy(), bins=bins, histtype="step", color="#5f6672", density=True)


def _draw_lines(axes: Axes, column: Column, data: Dataset, x: Tensor) -> None:
    places = torch.linspace(0, column.paths.shape[1] - 1, SHOWN_POINTS).round().long()
    paths = column.paths[:, places].float()
    if data.are_images:
        show(axes, paths.flatten(0, 1), SHOWN_POINTS, intensities(data, x))
        return
    shades = matplotlib.colormaps["viridis"](np.linspace(0, 0.9, SHOWN_POINTS))
    axes.tick_params(labelsize=8)
    if data.shape.numel() == 2:
        _draw_data(axes, x)
        for path in paths.flatten(2):
            axes.plot(path[:, 0], path[:, 1], color="#5f6672", linewidth=1)
            axes.scatter(path[:, 0], path[:, 1], s=14, c=shades, zorder=3)
        return
    variables = variables_in(data)
    draw_rows(axes, variables, paths[0].flatten(1), list(shades), linewidth=1, markersize=2)
    axes.set_xlabel(f"{variables.label} ({variables.unit})", fontsize=8)


def _draw_samples(axes: Axes, column: Column, data: Dataset, x: Tensor) -> None:
    images = column.samples.prior_samples.float()
    if data.are_images:
        show(axes, images, _across(len(images)), intensities(data, x))
        return
    axes.tick_params(labelsize=8)
    if data.shape.numel() == 2:
        _draw_data(axes, x)
        axes.scatter(images.flatten(1)[:, 0], images.flatten(1)[:, 1], s=10, color=MODEL)
        return
    variables = variables_in(data)
    draw_intervals(axes, variables, x, DATA, "data", -0.15)
    draw_intervals(axes, variables, images, MODEL, "samples", 0.15)
    axes.set_xlabel("variable: data (blue), samples", fontsize=8)


def _draw_data(axes: Axes, x: Tensor) -> None:
    """Draw data of two variables in the background."""
    points = x.flatten(1)
    axes.scatter(points[:, 0], points[:, 1], s=4, color=GREY, linewidths=0)
