"""Picture of the convergence of training."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pyrovae.diagnosis.convergence import Convergence
from pyrovae.report.figures.style import AMBER, DATA, MODEL, new_figure, styled

CAPTION = (
    "Left, all epochs; the training ELBO is a mean over an epoch, the validation ELBO that of its "
    "end. Right, the last epochs with the line whose slope is tested; the star marks the weights "
    "that are kept."
)
# The first epochs are far below the others: the axis begins where this share of them does.
SHOWN = 0.95


@styled
def convergence(check: Convergence) -> Figure:
    """ELBO of training and validation data over all epochs, and over the last."""
    figure = new_figure("Convergence of training", 3.6)
    left, right = figure.subplots(1, 2)
    _draw_curves(left, check)
    _draw_trend(right, check)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _draw_curves(axes: Axes, check: Convergence) -> None:
    axes.plot(check.epochs, check.train, color=DATA, label="training")
    axes.plot(check.epochs, check.validation, color=MODEL, label="validation")
    _mark_kept(axes, check)
    values = np.concatenate([check.train, check.validation])
    values = values[np.isfinite(values)]
    low, high = np.quantile(values, 1 - SHOWN), values.max()
    hidden = int((values < low).sum())
    if hidden and low < high:
        axes.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))
        axes.set_xlabel(f"epoch ({hidden} values below the axis)")
    else:
        axes.set_xlabel("epoch")
    axes.set(ylabel="ELBO, nats", title="all epochs")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=1))


def _draw_trend(axes: Axes, check: Convergence) -> None:
    last = slice(len(check.epochs) - check.trend.epochs, None)
    epochs, validation = check.epochs[last], check.validation[last]
    axes.plot(epochs, validation, "o", color=MODEL, markersize=4)
    if check.trend.measure == "ELBO":
        axes.plot(epochs, np.polyval(np.polyfit(epochs, validation, 1), epochs), color=MODEL)
    if check.kept >= len(check.epochs) - check.trend.epochs:
        _mark_kept(axes, check)
    change, error = check.trend.change, check.trend.error
    axes.set(
        xlabel="epoch",
        title=f"validation {check.trend.measure}: {change:+.2f} ± {error:.2f} nats".replace(
            "-", "−"
        ),
    )
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=1))


def _mark_kept(axes: Axes, check: Convergence) -> None:
    place = [check.epochs[check.kept]], [check.validation[check.kept]]
    label = f"kept weights (epoch {check.epochs[check.kept]})"
    axes.plot(*place, "*", color=AMBER, markeredgecolor="black", markersize=13, label=label)
