"""Picture of the aggregated posterior and the prior."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from pyrovae.evaluation.results import Variable
from pyrovae.report.figures.scale import Array, finite, marker_size, say_none, scale_of
from pyrovae.report.figures.style import DATA, MODEL, new_figure, styled

CAPTION = (
    "One latent drawn from q(z | x) for each observation, against as many draws of the prior. "
    "Where only the prior has mass, samples of the model do not resemble the data; where only the "
    "data have latents, the model would never generate such data."
)

FEWEST_BINS, MOST_BINS = 5, 30
MOST_DIMENSIONS = 3
"""Most latent dimensions drawn; of more, those that deviate most."""


@styled
def aggregate(variables: Mapping[str, Variable]) -> Figure:
    """Latents of data and of the prior: histograms of dimensions, or points in a plane; log p(z).

    Args:
        variables: ``aggregated`` and ``prior``, ``(obs, latent)``; ``log_prior_aggregated`` and
            ``log_prior_prior``, ``(obs,)``.
    """
    names = ("aggregated", "prior", "log_prior_aggregated", "log_prior_prior")
    codes, prior, log_codes, log_prior = (np.asarray(variables[n].values, float) for n in names)
    dims = codes.shape[1]
    title = "Aggregated posterior against prior"
    if dims > MOST_DIMENSIONS:
        title += f": the {MOST_DIMENSIONS} of {dims} dimensions that deviate most"
    if dims == 2:
        figure = new_figure(title, 4.4)
        left, right = figure.subplots(1, 2)
        _draw_plane(left, codes, prior)
        panels = [right]
    else:
        order = np.argsort([-distance(codes[:, d], prior[:, d]) for d in range(dims)])
        shown = order[:MOST_DIMENSIONS]
        figure = new_figure(title, 3.8 if dims == 1 else 5.8)
        rows = 1 if dims == 1 else 2
        panels = list(figure.subplots(rows, 2).flat)
        for axes, dim in zip(panels, shown.tolist(), strict=False):
            _draw_histograms(axes, codes[:, dim], prior[:, dim], f"z[{dim}]")
    _draw_histograms(panels[-1], log_codes, log_prior, "log p(z), nats")
    figure.legend(*panels[-1].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def distance(first: Array, second: Array) -> float:
    """Largest difference of two empirical distribution functions (Kolmogorov and Smirnov).

    Example:
        >>> distance(np.array([0.0, 1.0]), np.array([2.0, 3.0]))
        1.0
    """
    first, second = finite(first), finite(second)
    if not len(first) or not len(second):
        return 0.0
    found: Any = stats.ks_2samp(first, second)
    return float(found.statistic)


def _draw_histograms(axes: Axes, codes: Array, prior: Array, label: str) -> None:
    scale = scale_of(codes, prior)
    axes.set_xlabel(label + scale.remark)
    axes.set(ylabel="density", yticks=[])
    axes.locator_params(axis="x", nbins=7)
    axes.grid(visible=False)
    if not len(finite(codes)) or not len(finite(prior)):
        say_none(axes, "no finite value")
    bins = scale.bins(int(np.clip(len(codes) ** 0.5, FEWEST_BINS, MOST_BINS)))
    style: dict[str, Any] = {"bins": bins, "density": True}
    inside = [_within(values, scale.low, scale.high) for values in (codes, prior)]
    axes.hist(inside[0], color=DATA, alpha=0.55, label="latents of data, z ~ q(z | x)", **style)
    axes.hist(inside[1], histtype="step", color=MODEL, linewidth=1.8, label="prior", **style)
    axes.set_xlim(scale.low, scale.high)


def _within(values: Array, low: float, high: float) -> Array:
    """Values inside a range; if there are none, its middle."""
    values = finite(values)
    return values[(values >= low) & (values <= high)]


def _draw_plane(axes: Axes, codes: Array, prior: Array) -> None:
    size = marker_size(len(codes))
    for points, colour, name in ((prior, MODEL, "prior"), (codes, DATA, "latents of data")):
        style: dict[str, Any] = {"s": size, "color": colour, "alpha": 0.6, "linewidths": 0}
        known = points[np.isfinite(points).all(1)]
        axes.scatter(known[:, 0], known[:, 1], label=name, **style)
    horizontal, vertical = (scale_of(codes[:, d], prior[:, d]) for d in (0, 1))
    margin = 0.03 * (horizontal.high - horizontal.low)
    axes.set_xlim(horizontal.low - margin, horizontal.high + margin)
    axes.set_ylim(vertical.low - margin, vertical.high + margin)
    axes.set(xlabel="z[0]" + horizontal.remark, ylabel="z[1]")
