"""Style of every picture, independent of the user's settings of matplotlib."""

from __future__ import annotations

import io
from typing import Any

from matplotlib import style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

WIDTH = 9.0
"""Width of every picture in inches."""

NOTEBOOK_DPI = 90
"""Sharp enough in a cell of a notebook, with files that stay small."""

DATA, MODEL = "#22577a", "#e4572e"
"""Colours of data and of the model."""

AMBER, RED, GREY = "#f2b134", "#b3261e", "#b9bec6"
"""Colours of warnings, of failures, and of the background."""

STYLE: dict[str, Any] = {
    "figure.dpi": 180,
    "savefig.dpi": "figure",
    "font.size": 11,
    "figure.titlesize": 14,
    "axes.titlesize": 12,
    "axes.edgecolor": "#8a8f98",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e8eaed",
    "legend.frameon": False,
    "legend.handletextpad": 0.5,
}

styled = style.context(["default", STYLE])
"""Decorator: the function draws in :data:`STYLE`; global settings are as before afterwards."""


class NotebookFigure(Figure):
    """A figure that a notebook displays without pyplot."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=NOTEBOOK_DPI)
        return buffer.getvalue()


def new_figure(title: str, height: float) -> Figure:
    """A white figure with a title, outside of pyplot.

    Args:
        title: Shown as it is; dollar signs in the name of a data set mean nothing.
        height: In inches.
    """
    figure = NotebookFigure(figsize=(WIDTH, height), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, parse_math=False)
    return figure
