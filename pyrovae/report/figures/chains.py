"""Picture of the guide against long chains on the exact posterior."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from pyrovae.evaluation.results import Variable
from pyrovae.report.figures.scale import Array, finite, marker_size, say_none, scale_of
from pyrovae.report.figures.style import DATA, MODEL, new_figure, styled

CAPTION = (
    "Hamiltonian Monte Carlo on p(z | x) of the trained decoder, several chains for each "
    "observation. Above: agreement of the chains (R̂ near 1), the errors of the guide's mean and "
    "standard deviation, and the share of the posterior inside its 90 % intervals; each point is "
    "one dimension of one observation. Below: 90 % intervals of each chain and of the guide for "
    "three observations. Chains that do not overlap have found different modes."
)

AGREED, MIXED = 1.01, 1.05
"""R̂ up to which chains agree, and up to which they can be used (arXiv:1903.08008)."""

TICKS = [0.001, 0.01, 0.05, 0.2, 1.0, 4.0]
"""Ticks of the scale of R̂ − 1; values beyond either end are drawn at that end."""

MOST_DIMENSIONS = 8
"""Most dimensions drawn; of more, those where the guide is off the most."""

STARTS = {"guide": DATA, "prior": "#4f9d9d"}
"""Colours of chains by where they began."""


@styled
def chains(
    variables: Mapping[str, Variable],
    z: Array | None = None,
    guide: Array | None = None,
    starts: Sequence[str] = (),
) -> Figure:
    """R̂, shift, scale and coverage of the guide; intervals for the worst, a middling, the best.

    Args:
        variables: ``rhat``, ``mean_shift``, ``scale_ratio`` and ``guide_coverage``, all ``(obs,
            latent)``.
        z: Draws ``(chain, draw, obs, latent)``; without them only the upper row is drawn.
        guide: Latents from the guide ``(draw, obs, latent)``.
        starts: Initialisation of each chain, "guide" or "prior", if known.
    """
    names = ("rhat", "mean_shift", "scale_ratio", "guide_coverage")
    rhat, shift, ratio, coverage = (np.asarray(variables[n].values, float) for n in names)
    title = f"Chains on p(z | x) of {len(rhat)} data, and the guide against them"
    figure = new_figure(title, 3.5 if z is None else 6.6)
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.set(h_pad=0.1)  # type: ignore[call-arg]
    panels = figure.subplots(1 if z is None else 2, 3, squeeze=False)
    _draw_rhat(panels[0, 0], rhat)
    _draw_moments(panels[0, 1], shift, ratio)
    _draw_coverage(panels[0, 2], coverage)
    if z is None:
        return figure
    for axes, (name, datum) in zip(panels[1], examples(rhat, shift).items(), strict=False):
        axes.set_title(f"{name}: observation {datum}", fontsize="medium")
        dims = np.sort(np.argsort(-_size(shift[datum]), kind="stable")[:MOST_DIMENSIONS])
        draws = z[:, :, datum][:, :, dims]
        _draw_intervals(axes, draws, None if guide is None else guide[:, datum][:, dims], starts)
        axes.set_xticks(range(len(dims)), [str(dim) for dim in dims])
        axes.set_xlabel("latent dimension")
    for axes in panels[1, len(examples(rhat, shift)) :]:
        axes.set_axis_off()
    panels[1, 0].set_ylabel("z: 90 % intervals")
    handles = panels[1, 0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=3)
    return figure


def examples(rhat: Array, shift: Array) -> dict[str, int]:
    """Worst, middling and best observation: by R̂ if that is large, else by shift of means.

    Args:
        rhat: ``(obs, latent)``; not finite counts as large.
        shift: ``(obs, latent)``.
    """
    mixing = np.maximum(_size(rhat).max(1), MIXED)
    order = np.lexsort([-_size(shift).max(1), -mixing])
    places = {"worst": 0, "middling": len(order) // 2, "best": len(order) - 1}
    chosen: dict[str, int] = {}
    for name, place in places.items():
        if order[place] not in chosen.values():
            chosen[name] = int(order[place])
    return chosen


def _size(values: Array) -> Array:
    """Absolute values; those that are not numbers count as the largest."""
    return np.nan_to_num(np.abs(values), nan=np.inf, posinf=np.inf)


def _draw_rhat(axes: Axes, rhat: Array) -> None:
    worst = np.sort(_size(rhat).max(1))[::-1]
    excess = np.clip(worst - 1, TICKS[0], TICKS[-1])
    places = np.arange(1, len(worst) + 1)
    beyond = worst - 1 > TICKS[-1]
    size = marker_size(len(worst))
    colours = np.where(worst > MIXED, MODEL, DATA)
    for shown, marker in ((~beyond, "o"), (beyond, "^")):
        style: dict[str, Any] = {
            "marker": marker,
            "c": colours[shown],
            "clip_on": False,
            "zorder": 3,
        }
        axes.scatter(places[shown], excess[shown], s=size, linewidths=0, **style)
    for level in (AGREED, MIXED):
        axes.axhline(level - 1, color="#5f6672", linewidth=1, linestyle="--")
    axes.set_yscale("log")
    axes.set_ylim(TICKS[0], TICKS[-1])
    axes.set_yticks(TICKS, [f"{1 + tick:g}" for tick in TICKS])
    axes.minorticks_off()
    axes.set_title("largest R̂ of an observation", fontsize="medium")
    axes.set_xlabel("data, the worst first")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True, min_n_ticks=1))


def _draw_moments(axes: Axes, shift: Array, ratio: Array) -> None:
    horizontal, vertical = scale_of(shift), scale_of(ratio)
    reach = 1.05 * max(abs(horizontal.low), abs(horizontal.high), 0.5)
    axes.axhline(1, color="#5f6672", linewidth=1, linestyle="--")
    axes.axvline(0, color="#5f6672", linewidth=1, linestyle="--")
    style: dict[str, Any] = {
        "s": marker_size(shift.size),
        "color": MODEL,
        "alpha": 0.45,
        "linewidths": 0,
    }
    axes.scatter(shift.ravel(), ratio.ravel(), zorder=2, **style)
    axes.set(xlim=(-reach, reach))
    axes.set_ylim(min(0.95 * vertical.low, 0.8), max(1.05 * vertical.high, 1.2))
    axes.set_title("guide against chains", fontsize="medium")
    hidden = max(horizontal.hidden, vertical.hidden)
    remark = f"\n(values off the scale: {hidden})" if hidden else ""
    axes.set_xlabel("shift of means" + remark)
    axes.set_ylabel("ratio of scales")


def _draw_coverage(axes: Axes, coverage: Array) -> None:
    known = finite(coverage)
    axes.set_title("coverage by the guide", fontsize="medium")
    if not len(known):
        say_none(axes, "not known")
        return
    axes.hist(known, bins=np.linspace(0, 1, 26).tolist(), color=MODEL, alpha=0.6)
    axes.axvline(0.9, color="#5f6672", linewidth=1, linestyle="--")
    axes.set_xlim(max(0.0, min(known.min() - 0.05, 0.5)), 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    axes.set_xlabel("posterior held by\n90 % intervals")


def _draw_intervals(axes: Axes, draws: Array, guide: Array | None, starts: Sequence[str]) -> None:
    """Chains ``(chain, draw, dims)`` side by side, the guide ``(draw, dims)`` before them."""
    lines = [("guide", MODEL, 3.5, guide)] if guide is not None else []
    for number, chain in enumerate(draws):
        start = starts[number] if number < len(starts) else ""
        label = f"chain from the {start}" if start else "chain"
        lines.append((label, STARTS.get(start, DATA), 2.0, chain))
    shifts = np.linspace(-0.3, 0.3, len(lines)) if len(lines) > 1 else np.zeros(1)
    named: set[str] = set()
    for place, (label, colour, width, values) in zip(shifts, lines, strict=True):
        with np.errstate(invalid="ignore"):
            low, middle, high = np.quantile(values, [0.05, 0.5, 0.95], axis=0)
        places = np.arange(values.shape[-1]) + place
        axes.vlines(
            places, low, high, color=colour, linewidth=width, label="" if label in named else label
        )
        axes.plot(places, middle, "_", color="white", markersize=width + 1)
        named.add(label)
    axes.grid(visible=False, axis="x")
    axes.set_xlim(-0.6, draws.shape[-1] - 0.4)
