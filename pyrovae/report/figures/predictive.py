"""Picture of prior predictive checks."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pyrovae.diagnosis.predictive import tail_probabilities
from pyrovae.evaluation.results import Variable, percent
from pyrovae.report.figures.axis_range import Array, finite, say_none
from pyrovae.report.figures.style import DATA, MODEL, new_figure, styled

CAPTION = (
    "Whole data sets drawn from the model, as large as the observed one, and a statistic of each "
    "(orange). Where the observed value (blue) lies outside, the model gets this aspect of the "
    "data wrong."
)

COLUMNS = 3
TITLE = 30
"""Letters in a line of a title."""

MOST = 9
"""Most statistics drawn; of more, those whose observed values are farthest off."""


@styled
def predictive(variables: Mapping[str, Variable], names: Sequence[str]) -> Figure:
    """Each statistic's observed value in the histogram of its replicates.

    Args:
        variables: ``observed_statistic (statistic,)`` and ``replicated_statistic (replicate,
            statistic)``.
        names: Names of the statistics.
    """
    observed = np.asarray(variables["observed_statistic"].values, float)
    replicated = np.asarray(variables["replicated_statistic"].values, float)
    shown = _farthest(observed, replicated)
    rows = -(-len(shown) // COLUMNS)
    columns = min(COLUMNS, len(shown))
    title = f"Observed data against {len(replicated)} data sets drawn from the model"
    if len(shown) < len(names):
        title += f": {len(shown)} of {len(names)} statistics"
    figure = new_figure(title, 0.9 + 2.3 * rows + (0.6 if rows == 1 else 0))
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes, index in zip(panels, shown, strict=False):
        _draw_statistic(axes, names[index], float(observed[index]), replicated[:, index])
    for axes in panels[len(shown) :]:
        axes.set_axis_off()
    if shown:
        figure.supylabel("number of data sets", size="medium")
        handles = panels[0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside lower center", ncols=2)
    return figure


def tail(value: float, replicates: Array) -> float:
    """Share of replicates at least as far out as a value, on its side, times two.

    The observed data set is counted with its replicates, so that it is never zero.

    Example:
        >>> tail(100.0, np.arange(99.0))
        0.02
    """
    observed = torch.tensor([value], dtype=torch.float64)
    tails, _ = tail_probabilities(observed, torch.as_tensor(replicates)[:, None])
    return tails.item()


def _farthest(observed: Array, replicated: Array) -> list[int]:
    """Select the statistics to draw, in their own order."""
    if len(observed) <= MOST:
        return list(range(len(observed)))
    with np.errstate(invalid="ignore", divide="ignore"):
        effect = np.abs(observed - replicated.mean(0)) / replicated.std(0)
    farthest = np.argsort(-np.nan_to_num(effect, nan=np.inf, posinf=np.inf), kind="stable")
    return sorted(farthest[:MOST].tolist())


def _draw_statistic(axes: Axes, name: str, value: float, replicates: Array) -> None:
    # A long name has two lines, so that it does not reach the panel beside it.
    axes.set_title(textwrap.fill(name, TITLE), parse_math=False, fontsize="medium")
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.ticklabel_format(axis="x", useOffset=False)
    axes.locator_params(axis="x", nbins=4)
    known = finite(replicates)
    if not len(known) or not np.isfinite(value):
        say_none(axes, "not finite")
        return
    low, high = known.min(), known.max()
    if low == high:
        low, high = low - 0.5 * max(abs(low), 1), high + 0.5 * max(abs(high), 1)
    bins = np.linspace(low, high, 21).tolist()
    axes.hist(known, bins=bins, color=MODEL, alpha=0.55, label="replicates")
    axes.axvline(value, color=DATA, linewidth=2.5, label="observed")
    axes.margins(x=0.08)
    axes.set_xlabel(f"two-sided tail: {_written(tail(value, known), known)}", fontsize="small")


def _written(probability: float, replicates: Array) -> str:
    """A tail probability; only an upper bound where no replicate is as far out."""
    most = 2 / len(replicates)
    return f"< {100 * most:.2g} %" if probability < most else percent(probability)
