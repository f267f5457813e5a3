"""Picture of the convergence of training."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pyrovae.diagnosis.convergence import Convergence
from pyrovae.report.figures.history import clip
from pyrovae.report.figures.style import AMBER, DATA, MODEL, new_figure, styled

CAPTION = (
    "Left, all epochs; the training ELBO is a mean over an epoch, the validation ELBO that of its "
    "end. Right, the last epochs with the line whose slope is tested; the star marks the weights "
    "that are kept."
)


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
    axes.set(xlabel="epoch", ylabel="ELBO, nats", title="all epochs")
    clip(axes, np.tile(check.epochs, 2).astype(float), np.append(check.train, check.validation))
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
