"""Picture of the dependence between latent dimensions and factors."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pyrovae.data import Dataset
from pyrovae.exploration.factors import Factors
from pyrovae.report.figures.scale import Array
from pyrovae.report.figures.style import DATA, MODEL, new_figure, styled

CAPTION = (
    "Rows are latent dimensions, columns the known factors of the data. Left: the share of the "
    "information about a factor that a dimension has by itself, I(z; v) / H(v). Middle: the "
    "importance of a dimension for the factor in trees; a column sums to one. In a disentangled "
    "latent space each column has one dark square, and each row at most one. Right: the scores, "
    "of which 1 is the best; the grey tick is the value for uninformative latents, and dots are "
    "repetitions with other samples of the data."
)

MOST_ROWS = 20
"""Most latent dimensions drawn; of more, the most informative."""


@styled
def factors(found: Factors, data: Dataset) -> Figure:
    """Information, importance and scores, side by side.

    Args:
        found: Result to draw.
        data: Data set, for its name.
    """
    varying = found.varying
    names = [name for name, varies in zip(found.names, varying, strict=True) if varies]
    information = found.information[:, varying] / found.entropy[varying]
    shown = np.sort(np.argsort(-information.max(1), kind="stable")[:MOST_ROWS])
    dims = [found.dims[dim] for dim in shown]
    height = 1.9 + 0.3 * max(len(shown), 7)
    figure = new_figure(f"{data.name}: known factors in the latents", height)
    columns = max(len(names), 3)
    left, middle, right = figure.subplots(1, 3, width_ratios=[columns, columns, 4.5])
    _draw_table(left, information[shown], dims, names)
    left.set_title("share of a factor that\na dimension knows", size=11)
    _draw_table(middle, found.importance[:, varying][shown], [], names)
    middle.set_title("importance of a dimension\nin trees (DCI)", size=11)
    if len(shown) < len(found.dims):
        left.set_xlabel(f"{len(shown)} of {len(found.dims)} dimensions, those that know most")
    _draw_scores(right, found)
    return figure


def _draw_table(axes: Axes, table: Array, rows: list[str], columns: list[str]) -> None:
    axes.imshow(table, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_xticks(range(len(columns)), columns, rotation=40, ha="right", size=10)
    axes.set_yticks(range(len(table)), rows or [""] * len(table), size=10)
    for row, column in np.ndindex(*table.shape):
        value = table[row, column]
        colour = "white" if value > 0.55 else "#33414f"
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", size=8, color=colour)


def _draw_scores(axes: Axes, found: Factors) -> None:
    for place, score in enumerate(found.table):
        if not np.isfinite(score.mean):
            axes.text(0.02, place, "one factor is no question", va="center", size=8)
            continue
        axes.barh(place, score.mean, height=0.55, color=DATA, alpha=0.85)
        if score.chance > 0:
            axes.plot([score.chance] * 2, [place - 0.38, place + 0.38], color="#8a8f98", lw=2)
        axes.plot(score.values, [place] * len(score.values), "o", color=MODEL, markersize=3)
        reach = max(score.mean, score.chance, score.values.max())
        axes.text(reach + 0.03, place, f"{score.mean:.2f}", va="center", size=10)
    axes.set_yticks(range(len(found.table)), [score.name for score in found.table], size=10)
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set(xlim=(0, 1.18), xticks=[0, 0.5, 1])
    axes.set_title("scores", size=11)
