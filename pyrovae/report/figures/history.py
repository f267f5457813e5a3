"""Picture of the training curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from pyrovae.report.figures.style import DATA, MODEL, new_figure, styled

PANELS = {"elbo": "ELBO", "reconstruction": "Reconstruction", "kl": "KL"}
# Of a guide that is a point, what stands in these columns is no bound and no divergence.
POINT_PANELS = {"elbo": "log p(x, z)", "reconstruction": "log p(x | z)", "kl": "−log p(z)"}
LINES = {"train": ("training", DATA), "validation": ("validation", MODEL)}
BEST = "#f2b134"
FEW_EPOCHS = 15
"""Up to here each epoch gets a marker."""

Metrics = Sequence[Mapping[str, Any]]


@styled
def curves(metrics: Metrics) -> Figure:
    """ELBO, reconstruction and KL over epochs, with the best validation ELBO marked.

    Args:
        metrics: Records as in ``metrics.jsonl``, in nats per observation.
    """
    point = any("point" in record["kl_kind"].values() for record in metrics)
    names = POINT_PANELS if point else PANELS
    sum_of = "log p(x | z) + log p(z), at a point z" if point else "reconstruction − KL"
    figure = new_figure(f"Learning curves: {names['elbo']} = {sum_of}", 3.6)
    panels = figure.subplots(1, len(names))
    for axes, (quantity, title) in zip(panels, names.items(), strict=True):
        axes.set(title=title, xlabel="epoch")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=1))
        for split, (label, colour) in LINES.items():
            _draw_line(axes, [m for m in metrics if m["split"] == split], quantity, label, colour)
        _clip(axes, np.array([m[quantity] for m in metrics if m["split"] in LINES]))
    panels[0].set_ylabel("nats per observation")
    _mark_best(panels[0], [m for m in metrics if m["split"] == "validation"])
    handles = panels[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=3)
    return figure


def limits(values: NDArray[np.float64]) -> tuple[float, float]:
    """Range that shows most of the values, robust to outliers.

    It reaches from the 10th to the 90th percentile and up to as far again on either side.

    Example:
        >>> limits(np.array([-1e6, *range(100)]))
        (-71.0, 99.0)
    """
    low, high = np.quantile(values, [0.1, 0.9])
    reach = high - low
    return max(values.min(), low - reach).item(), min(values.max(), high + reach).item()


def _draw_line(axes: Axes, metrics: Metrics, quantity: str, label: str, colour: str) -> None:
    epochs = [m["epoch"] for m in metrics]
    marker = "o" if len(epochs) <= FEW_EPOCHS else ""
    values = [m[quantity] for m in metrics]
    axes.plot(epochs, values, marker=marker, markersize=5, color=colour, label=label)


def _clip(axes: Axes, values: NDArray[np.float64]) -> None:
    """Set the limits of the axes if some values are far off, and say how many."""
    values = values[np.isfinite(values)]
    if not len(values):
        return
    low, high = limits(values)
    hidden = np.count_nonzero((values < low) | (values > high))
    if hidden and low < high:
        margin = 0.05 * (high - low)
        axes.set_ylim(low - margin, high + margin)
        axes.set_xlabel(f"epoch\n(values off the scale: {hidden})")


def _mark_best(axes: Axes, validation: Metrics) -> None:
    known = [record for record in validation if np.isfinite(record["elbo"])]
    if not known:
        return
    best = max(known, key=lambda record: record["elbo"])
    number = f"{best['elbo']:.1f}".replace("-", "−")
    label = f"best validation ELBO: {number} (epoch {best['epoch']})"
    place = ([best["epoch"]], [best["elbo"]])
    axes.plot(*place, "*", color=BEST, markeredgecolor="black", markersize=13, label=label)
