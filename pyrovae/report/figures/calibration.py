"""Picture of the calibration of the guide's intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from pyrovae.evaluation.results import Variable
from pyrovae.evaluation.significance import fraction_interval
from pyrovae.report.figures.scale import Array, say_none, tick_dimensions
from pyrovae.report.figures.style import AMBER, DATA, GREY, MODEL, new_figure, styled

CAPTION = (
    "Latents z are drawn from the prior and data x simulated from them; intervals of q(z | x) "
    "should then contain the z that generated x with their nominal probability. Left: for each "
    "active dimension, the difference between the distribution of the ranks of z within q and the "
    "uniform; for 95 % of calibrated guides all lines stay within the band. A line that falls "
    "through the middle means that q is too wide, one that rises at the ends and falls in between "
    "that q is too narrow, a single arch that q is shifted. Right: the share of z inside 90 % "
    "intervals, with 95 % intervals; shaded: within 2 and 5 points."
)

NOMINAL = 0.9
MOST_NAMED = 3
"""Number of lines, the worst, that get a colour and a name."""

MOST_SHOWN = 32
"""Most latent dimensions drawn; of more, those of lowest coverage, active ones first."""

CELLS = 100
"""Places at which the lines are compared with the band."""


@styled
def calibration(variables: Mapping[str, Variable], active: Array | None = None) -> Figure:
    """ECDF of the PIT minus the uniform's for each latent, and coverage of 90 % intervals.

    Args:
        variables: ``pit (simulation, latent)``, ``pit_log_joint (simulation,)`` and ``coverage
            (latent,)``.
        active: Mask of the latents drawn on the left ``(latent,)``; all if None. The others are
            drawn grey on the right.
    """
    pit = np.asarray(variables["pit"].values, dtype=float)
    joint = np.asarray(variables["pit_log_joint"].values, dtype=float)
    coverage = np.asarray(variables["coverage"].values, dtype=float)
    drawn = np.ones(len(coverage), dtype=bool) if active is None else np.asarray(active, bool)
    figure = new_figure(f"Calibration on {len(pit)} simulated data", 4.4)
    left, right = figure.subplots(1, 2)
    _draw_differences(left, pit, joint, np.flatnonzero(drawn))
    _draw_coverage(right, coverage, drawn, len(pit))
    return figure


def ecdf_difference(pit: Array) -> Array:
    """ECDF minus the uniform's at 0, 0.01, ..., 1; NaN where there is no finite value."""
    known = np.sort(pit[np.isfinite(pit)])
    grid = np.linspace(0, 1, CELLS + 1)
    if not len(known):
        return np.full_like(grid, np.nan)
    return np.searchsorted(known, grid, side="right") / len(known) - grid


def band(count: int, level: float) -> Array:
    """Half-width, at 0, 0.01, ..., 1, of a band that holds a whole line of uniform values.

    Its width is a fixed number of standard deviations, found by simulation (Säilynoja et al. 2022,
    arXiv:2103.10522).

    Args:
        count: Number of values of the line.
        level: Probability that the band holds the whole line.
    """
    cells = np.random.default_rng(0).multinomial(count, np.full(CELLS, 1 / CELLS), 10_000)
    grid = np.linspace(0, 1, CELLS + 1)[1:-1]
    deviation = np.sqrt(grid * (1 - grid) / count)
    inner = cells.cumsum(1)[:, :-1] / count - grid
    times = np.quantile(np.abs(inner / deviation).max(1), level)
    return np.concatenate([[0.0], times * deviation, [0.0]])


def intervals(fractions: Array, count: int) -> tuple[Array, Array]:
    """Lower and upper ends of 95 % intervals of fractions of ``count`` trials; NaN stays NaN."""
    ends = [
        (np.nan, np.nan) if np.isnan(share) else fraction_interval(round(share * count), count)
        for share in fractions.tolist()
    ]
    low, high = np.array(ends).reshape(-1, 2).T
    return low, high


def _draw_differences(axes: Axes, pit: Array, joint: Array, dims: Array) -> None:
    axes.set_title("ranks: ECDF − uniform", fontsize="medium")
    axes.set(xlabel="rank of z within q(z | x)", xlim=(0, 1))
    grid = np.linspace(0, 1, CELLS + 1)
    half = band(len(pit), 0.95 ** (1 / (len(dims) + 1)))
    axes.fill_between(grid, -half, half, color=GREY, alpha=0.35, linewidth=0, label="95 % band")
    lines = {dim: ecdf_difference(pit[:, dim]) for dim in dims.tolist()}
    reach = {dim: np.nanmax(np.abs(line)) for dim, line in lines.items() if line[-1] == 0}
    worst = sorted(reach, key=lambda dim: -reach[dim])[:MOST_NAMED]
    for dim in reach.keys() - set(worst):
        axes.plot(grid, lines[dim], color=GREY, linewidth=0.9)
    if len(reach) > len(worst):
        axes.plot([], [], color=GREY, linewidth=0.9, label="other active dimensions")
    for dim, shade in zip(worst, (DATA, "#4f9d9d", "#7b6fa8"), strict=False):
        axes.plot(grid, lines[dim], color=shade, linewidth=1.8, label=f"z[{dim}]")
    line = ecdf_difference(joint)
    if np.isfinite(line).all():
        axes.plot(grid, line, color=MODEL, linewidth=1.8, linestyle="--", label="log p(x, z)")
    if not reach:
        say_none(axes, "no active dimension")
    axes.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, -0.18),
        ncols=2,
        fontsize="small",
    )


def _draw_coverage(axes: Axes, coverage: Array, active: Array, count: int) -> None:
    axes.set_title("share of z in 90 % intervals", fontsize="medium")
    order = np.lexsort([np.nan_to_num(coverage, nan=2.0), ~active])[:MOST_SHOWN]
    for reach in (0.05, 0.02):
        style: dict[str, Any] = {"color": AMBER if reach == 0.05 else "#3b7a57", "linewidth": 0}
        axes.axhspan(NOMINAL - reach, NOMINAL + reach, alpha=0.15, **style)
    axes.axhline(NOMINAL, color="#5f6672", linewidth=1, linestyle="--")
    low, high = intervals(coverage, count)
    size = float(np.clip(90 / max(len(order), 1), 3, 7))
    for used, colour, name in ((True, DATA, "active"), (False, GREY, "collapsed")):
        places = np.flatnonzero(active[order] == used)
        dims = order[places]
        if not len(dims):
            continue
        axes.vlines(places, low[dims], high[dims], color=colour, linewidth=min(size, 2))
        label = name if not active.all() else None
        axes.plot(places, coverage[dims], "o", color=colour, markersize=size, label=label)
    tick_dimensions(axes, order, float(np.clip(160 / max(len(order), 1), 5.5, 11)))
    lowest = np.nanmin(low, initial=0.8)
    axes.set_ylim(max(lowest - 0.03, -0.02), 1.01)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    axes.set_xlabel("latent dimension, the lowest first" + _remark(len(coverage)))
    if not active.all():
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2, fontsize="small")


def _remark(count: int) -> str:
    return f" ({MOST_SHOWN} of {count})" if count > MOST_SHOWN else ""
