"""Pictures of the trials of a sweep."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pyrovae.report.figures.style import DATA, GREY, MODEL, new_figure, styled
from pyrovae.report.trials import Sweep, Trial, short_names, written

CAPTION = (
    "Each point is a trial, against its number and against each key that was searched; the best "
    "is orange. The line is the best so far. Grey trials were pruned or go on, and have the value "
    "of the last epoch that they came to. Trials far worse than most are beyond the edge."
)
COLUMNS = 3
HEIGHT = 2.7
"""Of a row of panels, in inches."""

# What is worse than the median of all by more than this many spreads of their middle half is
# beyond the edge.
FAR = 3.0

# Values that are drawn in columns: no more of them than these.
FEW = 8


@styled
def trials(found: Sweep, title: str) -> Figure:
    """The objective of every trial, against its number and against each key.

    Args:
        found: The trials; one is finished at least.
        title: Name of the study.
    """
    panels = 1 + len(found.keys)
    rows, columns = -(-panels // COLUMNS), min(panels, COLUMNS)
    figure = new_figure(f"{title}: {found.objective} of {len(found.trials)} trials", HEIGHT * rows)
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axes in grid.flat[panels:]:
        axes.set_visible(False)
    drawn = [trial for trial in found.trials if trial.objective is not None]
    _draw_order(grid.flat[0], found, drawn)
    names = short_names(list(found.keys))
    for axes, (key, log) in zip(grid.flat[1:], found.keys.items(), strict=False):
        _draw_key(axes, found, [trial for trial in drawn if key in trial.values], key, log=log)
        axes.set_xlabel(names[key])
    for axes in grid[:, 0]:
        axes.set_ylabel(f"{found.objective}, nats")
    grid.flat[0].set_ylim(*_limits([trial.objective or 0.0 for trial in drawn], found))
    return figure


def _draw_order(axes: Axes, found: Sweep, drawn: list[Trial]) -> None:
    """Against the number of the trial, with the best so far."""
    finished = [trial for trial in drawn if trial.state == "finished"]
    values = [trial.objective for trial in finished]
    so_far = np.maximum.accumulate if found.maximised else np.minimum.accumulate
    numbers = [*(trial.number for trial in finished), drawn[-1].number]
    best = so_far(np.array([*values, values[-1]]))
    axes.step(numbers, best, where="post", color=MODEL, linewidth=1.2)
    _draw_points(axes, found, drawn, np.array([trial.number for trial in drawn]))
    axes.set_xlabel("trial")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _draw_key(axes: Axes, found: Sweep, drawn: list[Trial], key: str, *, log: bool) -> None:
    """Against the value of a key, in columns if they are few or no numbers."""
    values: list[Any] = [trial.values[key] for trial in drawn]
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    choices = sorted(set(values)) if numbers else sorted(set(map(written, values)))
    if numbers and len(choices) > FEW:
        if log:
            axes.set_xscale("log")
        elif all(isinstance(value, int) for value in values):
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _draw_points(axes, found, drawn, np.array(values))
        return
    places = [choices.index(value if numbers else written(value)) for value in values]
    # Side by side, so that trials of one choice do not hide each other; always in the same way.
    beside = np.array([0.3 * math.sin(2.4 * trial.number) for trial in drawn])
    _draw_points(axes, found, drawn, np.array(places) + beside)
    axes.set_xticks(range(len(choices)), [written(choice) for choice in choices])
    axes.set_xlim(-0.6, len(choices) - 0.4)


def _draw_points(axes: Axes, found: Sweep, drawn: list[Trial], x: np.ndarray) -> None:
    y = np.array([trial.objective for trial in drawn])
    finished = np.array([trial.state == "finished" for trial in drawn])
    best = np.array([trial == found.best for trial in drawn])
    for where, colour, size in ((~finished, GREY, 26), (finished, DATA, 26), (best, MODEL, 70)):
        axes.scatter(x[where], y[where], s=size, color=colour, edgecolor="white", linewidth=0.6)


def _limits(values: list[float], found: Sweep) -> tuple[float, float]:
    """Limits that trials far worse than most do not stretch."""
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    reach = FAR * max(high - low, 1e-3 * abs(middle), 1e-6)
    bottom, top = min(values), max(values)
    if found.maximised:
        bottom = max(bottom, middle - reach)
    else:
        top = min(top, middle + reach)
    margin = 0.08 * (top - bottom) or 0.5
    return bottom - margin, top + margin
