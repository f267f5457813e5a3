"""Picture of the inference gap and its two parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pyrovae.evaluation.results import Variable
from pyrovae.report.figures.scale import Array, finite, say_none, scale_of
from pyrovae.report.figures.style import DATA, MODEL, new_figure, styled

CAPTION = (
    "log p(x) − ELBO of each observation, from the worst to the best. The part that remains after "
    "q is optimised for the observation alone is the approximation gap: the family of q is too "
    "small. The rest is the amortisation gap: the encoder does not find the best q of its family."
)

MOST_BARS = 200
"""More data are drawn as means of neighbours."""

CAREFUL, WRONG = 0.5, 2.0
"""Nats from which the gap calls for care, and from which it is large."""


@styled
def gap(variables: Mapping[str, Variable]) -> Figure:
    """The inference gap of each observation, sorted, as approximation and amortisation gap.

    Args:
        variables: ``gap``, ``approximation_gap`` and ``amortisation_gap``, all ``(obs,)``; the
            last two NaN where the split is not known.
    """
    names = ("gap", "approximation_gap", "amortisation_gap")
    total, family, encoder = (np.asarray(variables[n].values, float) for n in names)
    figure = new_figure("Inference gap: log p(x) − ELBO of each observation", 4.2)
    axes = figure.subplots()
    known = np.isfinite(total)
    if not known.any():
        say_none(axes, "no finite gap")
        return figure
    order = np.flatnonzero(known)[np.argsort(-total[known])]
    groups = np.array_split(order, min(len(order), MOST_BARS))
    edges = np.concatenate([[0], np.cumsum([len(group) for group in groups])])
    if np.isfinite(family[order]).all() and np.isfinite(encoder[order]).all():
        _draw_stack(axes, edges, _means(family, groups), _means(encoder, groups))
    axes.stairs(
        _means(total, groups), edges, color="black", linewidth=1.2, label=_name("gap", total)
    )
    for level in (CAREFUL, WRONG):
        axes.axhline(level, color="#5f6672", linewidth=1, linestyle=":")
    _set_scale(axes, total, len(order))
    axes.set_ylabel("nats")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def _draw_stack(axes: Axes, edges: Array, family: Array, encoder: Array) -> None:
    """Approximation gap from zero, amortisation gap on top; where negative, below zero."""
    parts = (("approximation gap", family, DATA), ("amortisation gap", encoder, MODEL))
    above, below = np.zeros_like(family), np.zeros_like(family)
    widths = np.diff(edges)
    for name, part, colour in parts:
        base = np.where(part >= 0, above, below)
        label = f"{name}, mean {np.average(part, weights=widths):.2f}".replace("-", "−")
        style: dict[str, Any] = {"color": colour, "alpha": 0.85, "linewidth": 0, "align": "edge"}
        axes.bar(edges[:-1], part, widths, base, label=label, **style)
        above, below = above + np.clip(part, 0, None), below + np.clip(part, None, 0)


def _means(values: Array, groups: list[Array]) -> Array:
    return np.array([values[group].mean() for group in groups])


def _name(name: str, values: Array) -> str:
    return f"{name}, mean {finite(values).mean():.2f} nats".replace("-", "−")


def _set_scale(axes: Axes, total: Array, count: int) -> None:
    scale = scale_of(total)
    margin = 0.08 * max(scale.high - min(scale.low, 0.0), 0.1)
    axes.set_ylim(min(scale.low, 0.0) - margin, max(scale.high, CAREFUL) + margin)
    axes.set_xlim(0, count)
    axes.grid(visible=False, axis="x")
    axes.set_xlabel(f"data, from the worst to the best{scale.remark}")
