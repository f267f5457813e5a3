"""Picture of several models on the same data."""

from __future__ import annotations

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pyrovae.diagnosis.comparison import STANDARD_ERRORS, Comparison
from pyrovae.report.figures.style import DATA, MODEL, new_figure, styled


@styled
def differences(comparison: Comparison) -> Figure:
    """Difference of each model from the best: on average, and per observation.

    On the left the mean difference with an interval of two standard errors, and as a pale bar the
    possible underestimation: the bound gap, or the rise from half as many latents if that is
    larger. On the right the cumulative distribution over data of a model's advantage.
    """
    count = len(comparison.names)
    figure = new_figure("log p(x), compared with the best", 2.6 + 0.4 * count)
    left, right = figure.subplots(1, 2)
    _draw_means(left, comparison)
    _draw_data(right, comparison)
    return figure


def _draw_means(axes: Axes, comparison: Comparison) -> None:
    rows = np.arange(len(comparison.names))
    difference = comparison.difference.numpy()
    gap = np.fmax(comparison.mean_gap.numpy(), comparison.rise.numpy()).clip(min=0)
    axes.barh(rows, gap, left=difference, height=0.5, color=MODEL, alpha=0.3, label="bound gap")
    error = STANDARD_ERRORS * np.nan_to_num(comparison.difference_error.numpy())
    axes.errorbar(difference, rows, xerr=error, fmt="o", color=DATA, label="± 2 standard errors")
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(rows, [_plain(name) for name in comparison.names])
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set(title="Mean", xlabel="nats per observation")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.25), ncols=2)


def _draw_data(axes: Axes, comparison: Comparison) -> None:
    by_datum = (comparison.log_prob[1:] - comparison.log_prob[0]).sort(-1).values.numpy()
    share = (np.arange(by_datum.shape[-1]) + 0.5) / by_datum.shape[-1]
    colours = colormaps["tab10"].colors  # type: ignore[attr-defined]
    for model, values in enumerate(by_datum):
        colour = colours[model % len(colours)]
        axes.plot(values, share, color=colour, label=_plain(comparison.names[model + 1]))
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set(title="By observation", xlabel="nats", ylabel="share of data below", ylim=(0, 1))
    axes.legend(loc="best")


def _plain(name: str) -> str:
    """A name in which dollar signs are dollar signs."""
    return name.replace("$", r"\$")
