"""Picture of the rate-distortion curve over β."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from pyrovae.data import Dataset
from pyrovae.exploration.sweep import Sweep
from pyrovae.report.figures.scale import Array, say_none
from pyrovae.report.figures.style import AMBER, DATA, MODEL, new_figure, styled

CAPTION = (
    "Each point is the same model under another β, on test data: the KL of its guide in nats "
    "(rate), and the reconstruction error in nats (distortion); bars are two standard errors. "
    "Down and to the left is better. On the dashed line rate and distortion have the same sum as "
    "at β = 1 (or, without it, at the best ELBO): models below it have a better ELBO, above it a "
    "worse one. Right, how well latent dimensions align with known factors, if there are any, and "
    "the number of active dimensions."
)


@styled
def sweep(found: Sweep, data: Dataset) -> Figure:
    """The rate-distortion curve; MIG, if known, and active dimensions against β.

    Args:
        found: Result of :func:`pyrovae.exploration.sweep.sweep`.
        data: The split that was evaluated.
    """
    figure = new_figure(f"{data.name}: rate and distortion under different β", 4.6)
    grid = figure.add_gridspec(2, 2, width_ratios=[3, 2])
    _draw_curve(figure.add_subplot(grid[:, 0]), found)
    if found.mig is None:
        _draw_active(figure.add_subplot(grid[:, 1]), found)
        return figure
    upper = figure.add_subplot(grid[0, 1])
    _draw_mig(upper, found)
    upper.tick_params(labelbottom=False)
    _draw_active(figure.add_subplot(grid[1, 1]), found)
    return figure


def _draw_curve(axes: Axes, found: Sweep) -> None:
    places = found.places.values()
    rate, rate_error = np.array([place.rate for place in places]).T
    distortion, error = np.array([place.distortion for place in places]).T
    style: dict[str, Any] = {"markersize": 6, "linewidth": 1.5, "capsize": 2, "elinewidth": 1}
    axes.errorbar(rate, distortion, 2 * error, 2 * rate_error, fmt="o-", color=DATA, **style)
    axes.margins(0.12)
    axes.set(xlim=axes.get_xlim(), ylim=axes.get_ylim())  # the line is not to change them
    anchor = found.places[found.anchor]
    total = anchor.rate.value + anchor.distortion.value
    axes.axline(
        (0, total),
        slope=-1,
        color=MODEL,
        linestyle="--",
        linewidth=1.2,
        label=f"ELBO {-total:.1f} nats, as at β = {found.anchor:g}".replace("-", "−"),
    )
    halo = [withStroke(linewidth=3, foreground="white")]
    for beta, x, y in zip(found.places, rate, distortion, strict=True):
        axes.annotate(
            f"β = {beta:g}",
            (x, y),
            (7, 6),
            textcoords="offset points",
            fontsize=10,
            path_effects=halo,
        )
    axes.set(xlabel="rate: KL(q(z | x), p(z)), nats", ylabel="distortion: −log p(x | z), nats")
    axes.legend(loc="upper right")


def _draw_mig(axes: Axes, found: Sweep) -> None:
    betas = np.array(list(found.places))
    gaps = np.array([found.mig_of(beta) for beta in betas])
    if not np.isfinite(gaps).any():
        say_none(axes, "not known for any β")
        return
    axes.plot(betas, gaps, "o-", color=DATA)
    axes.set_ylim(0, max(0.1, 1.15 * float(np.nanmax(gaps))))
    axes.set_ylabel("MIG")
    _set_beta_scale(axes, betas)


def _draw_active(axes: Axes, found: Sweep) -> None:
    betas = np.array(list(found.places))
    places = list(found.places.values())
    axes.plot(betas, [place.active for place in places], "o-", color=DATA)
    axes.axhline(places[0].dims, color=AMBER, linestyle=":", linewidth=1.5)
    axes.set_ylim(-0.05 * places[0].dims, 1.1 * places[0].dims)
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.set(xlabel="β", ylabel=f"active of {places[0].dims}\ndimensions")
    _set_beta_scale(axes, betas)


def _set_beta_scale(axes: Axes, betas: Array) -> None:
    """Logarithmic; where β = 0 is among them, linear up to the smallest other."""
    positive = betas[betas > 0]
    if len(positive) < 2:
        axes.set_xticks(betas)
        return
    if (betas == 0).any():
        axes.set_xscale("symlog", linthresh=positive.min())
    else:
        axes.set_xscale("log")
    axes.set_xticks(betas if len(betas) <= 8 else betas[:: -(-len(betas) // 8)])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda beta, _: f"{beta:g}"))
