"""Picture of discrete latents."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pyrovae.diagnosis.classes import ClassUse
from pyrovae.report.figures.style import MODEL, new_figure, styled

CAPTION = (
    "A row for each discrete latent. Left: its aggregated posterior, the mean of q(k | x) over "
    "the data. Right: the shares of the most probable classes among the data of each label; "
    "where there are no labels, the largest probability of each observation, which is 1 where the "
    "guide is certain."
)

MOST_WRITTEN = 12
"""Classes up to which each share is written as a number."""


@styled
def discrete_latents(latents: Sequence[ClassUse]) -> Figure:
    """Mean probabilities, and the confusion with labels or the certainty of the guide."""
    figure = new_figure("Discrete latents", 0.8 + 3.4 * len(latents))
    rows = figure.subplots(len(latents), 2, squeeze=False)
    for (left, right), use in zip(rows, latents, strict=True):
        _draw_means(left, use)
        if use.confusion is None:
            _draw_certainty(right, use)
        else:
            _draw_confusion(right, use)
    return figure


def _draw_means(axes: Axes, use: ClassUse) -> None:
    mean = use.probabilities.mean(0)
    axes.bar(np.arange(len(mean)), mean, color=MODEL)
    axes.set_xlabel(f"class {use.name}")
    axes.set_ylabel(f"mean of q({use.name} | x)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(visible=False, axis="x")


def _draw_certainty(axes: Axes, use: ClassUse) -> None:
    axes.hist(use.probabilities.max(1), bins=np.linspace(0, 1, 21).tolist(), color=MODEL)
    axes.set_xlabel(f"largest q({use.name} | x)")
    axes.set_ylabel("observations")


def _draw_confusion(axes: Axes, use: ClassUse) -> None:
    table = np.asarray(use.confusion)
    totals = table.sum(1, keepdims=True)
    shares = table / np.maximum(totals, 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.grid(visible=False)
    axes.set_xlabel(f"most probable class {use.name}")
    axes.set_ylabel("label")
    if len(table) <= MOST_WRITTEN:
        axes.set_xticks(range(len(table)))
        axes.set_yticks(range(len(table)))
        for (row, column), share in np.ndenumerate(shares):
            if share >= 0.005:
                colour = "white" if share > 0.5 else "black"
                axes.text(
                    column, row, f"{100 * share:.0f}", ha="center", va="center", color=colour,
                    fontsize=8,
                )  # fmt: skip
