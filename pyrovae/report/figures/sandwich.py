"""Picture of bounds on log p(x) from both sides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pyrovae.evaluation.results import Variable
from pyrovae.report.figures.scale import Array, finite, marker_size, say_none, scale_of
from pyrovae.report.figures.style import DATA, GREY, MODEL, new_figure, styled

CAPTION = (
    "On data simulated from the model, forward annealing gives a lower bound on log p(x) in "
    "expectation, and backward annealing from the latent that generated the observation an upper "
    "one. Those of a single observation may cross; the means bound the error of estimates of log "
    "p(x)."
)


@styled
def sandwich(variables: Mapping[str, Variable]) -> Figure:
    """Upper against lower bound of simulated observations, and the distribution of differences.

    Args:
        variables: ``lower`` and ``upper``, both ``(simulation,)``, in nats.
    """
    lower, upper = (np.asarray(variables[n].values, float) for n in ("lower", "upper"))
    figure = new_figure(f"Bounds of log p(x) on {len(lower)} simulated data", 4.0)
    left, right = figure.subplots(1, 2)
    _draw_bounds(left, lower, upper)
    _draw_differences(right, upper - lower)
    return figure


def _draw_bounds(axes: Axes, lower: Array, upper: Array) -> None:
    scale = scale_of(lower, upper)
    margin = 0.04 * (scale.high - scale.low)
    ends = (scale.low - margin, scale.high + margin)
    axes.plot(ends, ends, color=GREY, linewidth=1.2, label="equal")
    style: dict[str, Any] = {
        "s": marker_size(len(lower)),
        "color": DATA,
        "alpha": 0.7,
        "linewidths": 0,
    }
    axes.scatter(lower, upper, zorder=2, label="a simulated observation", **style)
    axes.set(xlim=ends, ylim=ends, ylabel="upper, nats")
    axes.set_xlabel("lower, nats" + scale.remark)
    axes.locator_params(nbins=6)
    axes.legend(loc="upper left")


def _draw_differences(axes: Axes, difference: Array) -> None:
    known = finite(difference)
    scale = scale_of(difference)
    axes.set_xlabel("upper − lower, nats" + scale.remark)
    if not len(known):
        say_none(axes, "no finite difference")
        return
    inside = known[(known >= scale.low) & (known <= scale.high)]
    axes.hist(inside, bins=scale.bins(30), color=DATA, alpha=0.6)
    axes.axvline(0, color="#5f6672", linewidth=1, linestyle="--")
    mean = known.mean()
    label = f"mean {mean:.3f}"
    if len(known) > 1:
        error = known.std(ddof=1) / len(known) ** 0.5
        axes.axvspan(mean - 2 * error, mean + 2 * error, color=MODEL, alpha=0.2, linewidth=0)
        label += f" ± {error:.3f}"
    axes.axvline(mean, color=MODEL, linewidth=2, label=label.replace("-", "−"))
    axes.set_ylabel("number of simulated data")
    axes.locator_params(axis="x", nbins=5)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    axes.legend(loc="best")
