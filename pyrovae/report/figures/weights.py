"""Picture of the reliability of importance weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pyrovae.evaluation.results import Variable, percent
from pyrovae.report.figures.axis_range import Array, marker_size, say_none, scale_of
from pyrovae.report.figures.style import AMBER, DATA, MODEL, RED, new_figure, styled

CAPTION = (
    "Each point is an observation, from the worst to the best. k̂ is the shape of the Pareto "
    "distribution fitted to its largest weights p(x, z) / q(z | x): the larger, the heavier the "
    "tail, and the worse q approximates p(z | x). The k̂ of one observation is noisy; the share "
    "above the threshold is not. Modes that q misses altogether are not detected."
)

GOOD = 0.5
"""Up to here weights have a finite variance (Vehtari et al., arXiv:1507.02646)."""


@styled
def weights(variables: Mapping[str, Variable], threshold: float = 0.7) -> Figure:
    """Pareto k̂ per observation, sorted, with its thresholds, and their distribution beside it.

    Data whose weights are all equal have no k̂ and are counted apart.

    Args:
        variables: ``khat`` and ``degenerate``, both ``(obs,)``.
        threshold: Value of k̂ above which the weights are unreliable.
    """
    khat = np.asarray(variables["khat"].values, dtype=np.float64)
    constant = np.asarray(variables["degenerate"].values, dtype=bool)
    figure = new_figure("Importance weights: Pareto k̂ of each observation", 4.2)
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[4, 1])
    judged = np.nan_to_num(khat[~constant], nan=np.inf, posinf=np.inf, neginf=-np.inf)
    if not len(judged):
        say_none(left, f"weights are constant for all {len(khat)} data:\nthere is nothing to fit")
        right.set_axis_off()
        return figure
    _draw_zones([left, right], judged, threshold)
    _draw_sorted(left, judged, threshold)
    edges = np.linspace(left.get_ylim()[0], left.get_ylim()[1], 25)
    right.hist(
        np.clip(judged, edges[0], edges[-1]),
        bins=edges.tolist(),
        orientation="horizontal",
        color=DATA,
    )
    right.xaxis.set_major_locator(MaxNLocator(nbins=3, integer=True))
    right.set_xlabel("number of data")
    share = np.mean(judged > threshold).item()
    title = f"{percent(share)} of {len(judged)} data above {threshold:.2g}"
    if constant.any():
        title += f"; {np.count_nonzero(constant)} more have constant weights"
    left.set_title(title)
    return figure


def _draw_sorted(axes: Axes, khat: Array, threshold: float) -> None:
    ordered = np.sort(khat)[::-1]
    places = np.arange(1, len(ordered) + 1)
    low, high = axes.get_ylim()
    colours = np.where(ordered > threshold, MODEL, DATA)
    size = marker_size(len(ordered))
    inside = (ordered >= low) & (ordered <= high)
    axes.scatter(places[inside], ordered[inside], s=size, c=colours[inside], linewidths=0)
    for beyond, marker, edge in ((ordered > high, "^", high), (ordered < low, "v", low)):
        drawn: dict[str, Any] = {
            "s": 2 * size,
            "c": colours[beyond],
            "marker": marker,
            "clip_on": False,
        }
        axes.scatter(places[beyond], np.full(beyond.sum(), edge), zorder=3, **drawn)
    remark = f"\n(off the scale: {np.count_nonzero(~inside)})" if not inside.all() else ""
    axes.set_xlabel(f"data, from the worst to the best{remark}")
    axes.set_ylabel("k̂")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    axes.set_xlim(0.5 - 0.02 * len(ordered), len(ordered) + 0.5 + 0.02 * len(ordered))


def _draw_zones(panels: list[Axes], khat: Array, threshold: float) -> None:
    scale = scale_of(khat)
    low, high = min(scale.low, 0.0) - 0.1, max(scale.high, 1.0) + 0.1
    for axes in panels:
        axes.set_ylim(low, high)
        axes.grid(visible=False)
        if threshold > GOOD:
            axes.axhspan(GOOD, threshold, color=AMBER, alpha=0.16, linewidth=0)
        axes.axhspan(threshold, high, color=RED, alpha=0.10, linewidth=0)
        axes.axhline(threshold, color=RED, linewidth=1, linestyle="--")
    style: dict[str, Any] = {
        "transform": panels[0].get_yaxis_transform(),
        "ha": "right",
        "size": "small",
        "bbox": {"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 1.5},
    }
    places = {
        f"above {threshold:.2g}: do not rely on the weights": threshold + 0.02,
        "good": GOOD - 0.1,
    }
    for text, height in places.items():
        panels[0].text(0.985, height, text, color="#5f6672", **style)
