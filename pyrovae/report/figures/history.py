"""Picture of the training curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from pyrovae.report.figures.style import DATA, MODEL, new_figure, styled
from pyrovae.training.records import Record

PANELS = {"elbo": "ELBO", "reconstruction": "Reconstruction", "kl": "KL"}
# Of a guide that is a point, what stands in these columns is no bound and no divergence.
POINT_PANELS = {"elbo": "log p(x, z)", "reconstruction": "log p(x | z)", "kl": "−log p(z)"}
LINES = {"train": ("training", DATA), "validation": ("validation", MODEL)}
BEST, KEPT = "#f2b134", "#5f6672"
FEW_EPOCHS = 15
"""Up to here each epoch gets a marker."""

SQUEEZED = 2.0
"""Values far off are left out where the axis would be so many times as long with them."""

Metrics = Sequence[Mapping[str, Any]]


@styled
def curves(records: Sequence[Record | Mapping[str, Any]], kept: int | None = None) -> Figure:
    """ELBO, reconstruction and KL over epochs, with the best validation ELBO marked.

    Args:
        records: A history, or lines of ``metrics.jsonl``, in nats per observation.
        kept: Epoch whose weights were kept; marked too.
    """
    metrics = [asdict(each) if isinstance(each, Record) else each for each in records]
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
        drawn = [(m["epoch"], m[quantity]) for m in metrics if m["split"] in LINES]
        clip(axes, *np.array(drawn, float).reshape(-1, 2).T)
        if kept is not None:
            style: dict[str, Any] = {"color": KEPT, "linestyle": ":", "linewidth": 1.5}
            axes.axvline(kept, label=f"weights kept (epoch {kept})", zorder=1, **style)
    panels[0].set_ylabel("nats per observation")
    _mark_best(panels[0], [m for m in metrics if m["split"] == "validation"])
    handles = panels[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=4, fontsize="small")
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


def clip(axes: Axes, epochs: NDArray[np.float64], values: NDArray[np.float64]) -> None:
    """Set the limits of the axes if some values are far off, and name their epochs."""
    known = np.isfinite(values)
    if not known.any():
        return
    low, high = limits(values[known])
    hidden = np.unique(epochs[known & ((values < low) | (values > high))]).astype(int)
    if len(hidden) and np.ptp(values[known]) > SQUEEZED * (high - low) > 0:
        margin = 0.05 * (high - low)
        axes.set_ylim(low - margin, high + margin)
        axes.set_xlabel(f"epoch\n({_named(hidden.tolist())} off the scale)")


def _named(epochs: Sequence[int]) -> str:
    """Epochs in words.

    Example:
        >>> _named([1]), _named([1, 2, 3]), _named([1, 7])
        ('epoch 1', 'epochs 1 to 3', '2 epochs')
    """
    first, last = epochs[0], epochs[-1]
    if first == last:
        return f"epoch {first}"
    whole = last - first + 1 == len(epochs)
    return f"epochs {first} to {last}" if whole else f"{len(epochs)} epochs"


def _mark_best(axes: Axes, validation: Metrics) -> None:
    known = [record for record in validation if np.isfinite(record["elbo"])]
    if not known:
        return
    best = max(known, key=lambda record: record["elbo"])
    number = f"{best['elbo']:.1f}".replace("-", "−")
    label = f"best validation ELBO: {number} (epoch {best['epoch']})"
    place = ([best["epoch"]], [best["elbo"]])
    axes.plot(*place, "*", color=BEST, markeredgecolor="black", markersize=13, label=label)
