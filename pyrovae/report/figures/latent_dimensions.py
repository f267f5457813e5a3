"""Picture of the use of each latent dimension."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pyrovae.evaluation.results import Variable
from pyrovae.report.figures.axis_range import Array, say_none, tick_dimensions
from pyrovae.report.figures.style import AMBER, DATA, GREY, MODEL, new_figure, styled

CAPTION = (
    "Each bar is a latent dimension. Above: KL(q(z_d | x) ‖ p(z_d)), the mean over the data; "
    "circles are a lower bound on the part of it that is information about x, which from N data "
    "is at most log N; the rest of the KL is the divergence of the aggregated posterior from the "
    "prior. Below: the variance of the mean of q over the data. A dimension whose mean does not "
    "vary has collapsed: the decoder does not use it."
)

COLLAPSED = 0.01
"""Nats of KL, or variance of means, below which a dimension carries nothing (arXiv:1509.00519)."""

LOWEST = 1e-5
"""Variances below are drawn as this."""


@styled
def latent_dimensions(variables: Mapping[str, Variable]) -> Figure:
    """KL and variance of the means per latent dimension, sorted; collapsed ones grey, hatched.

    Args:
        variables: ``kl``, ``mean_variance``, ``active`` and ``information``, all ``(latent,)``;
            NaN where unknown.
    """
    names = ("kl", "mean_variance", "information")
    kl, variance, information = (np.asarray(variables[n].values, dtype=float) for n in names)
    active = np.asarray(variables["active"].values, dtype=bool)
    key = np.nan_to_num(kl if np.isfinite(kl).any() else variance, nan=-np.inf)
    order = np.lexsort([-key, ~active])
    title = f"Latent dimensions: {np.count_nonzero(active)} of {len(active)} active"
    figure = new_figure(title, 5.2)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
    _draw_kl(upper, kl[order], information[order], active[order])
    _draw_variance(lower, variance[order], active[order])
    tick_dimensions(lower, order, float(np.clip(330 / max(len(order), 1), 6, 11)))
    lower.set_xlabel("latent dimension, from the most to the least used")
    handles, labels = lower.get_legend_handles_labels()
    more_handles, more_labels = upper.get_legend_handles_labels()
    figure.legend(
        [*handles, *more_handles], [*labels, *more_labels], loc="outside lower center", ncols=4
    )
    return figure


def _draw_kl(axes: Axes, kl: Array, information: Array, active: Array) -> None:
    axes.set_ylabel("KL (nats)")
    axes.grid(visible=False, axis="x")
    axes.tick_params(axis="x", length=0)
    known = np.isfinite(kl)
    if not known.any():
        say_none(axes, "the KL of single dimensions is not known for this prior and guide")
    _draw_bars(axes, np.where(known, kl, 0.0), active)
    for place in np.flatnonzero(~known) if known.any() else ():
        axes.annotate("?", (place, 0), ha="center", va="bottom", color="#5f6672")
    if np.isfinite(information).any():
        style: dict[str, Any] = {"markersize": 6, "markeredgecolor": "white", "color": MODEL}
        axes.plot(information, "o", label="information about x (lower bound)", **style)


def _draw_variance(axes: Axes, variance: Array, active: Array) -> None:
    drawn = np.clip(np.where(np.isfinite(variance), variance, LOWEST), LOWEST, None)
    _draw_bars(axes, drawn, active, names=("active", "collapsed"))
    axes.set_yscale("log")
    axes.set_ylim(LOWEST, max(10 * COLLAPSED, 2 * drawn.max(initial=0)))
    label = f"threshold, {COLLAPSED:g}"
    axes.axhline(COLLAPSED, color=AMBER, linestyle="--", linewidth=1.5, label=label)
    axes.set_ylabel("variance of\nmeans of q")


def _draw_bars(
    axes: Axes, heights: Array, active: Array, names: Sequence[str | None] = (None, None)
) -> None:
    hatched: dict[str, Any] = {
        "color": "#e8eaed",
        "edgecolor": GREY,
        "hatch": "////",
        "linewidth": 0.5,
    }
    styles: list[dict[str, Any]] = [{"color": DATA}, hatched]
    for drawn, style, name in zip((active, ~active), styles, names, strict=True):
        if drawn.any():
            axes.bar(np.flatnonzero(drawn), heights[drawn], label=name, **style)
