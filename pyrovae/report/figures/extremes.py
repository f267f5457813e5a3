"""Picture of the data that a model finds least and most likely."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from pyrovae.data import Dataset
from pyrovae.report.figures.style import DATA, MODEL, new_figure, styled
from pyrovae.report.figures.tables import THREAD, draw_rows
from pyrovae.report.figures.tiles import intensities
from pyrovae.report.figures.variables import Variables, variables_in

CAPTION = (
    "The most and the least likely data. For images, the observation is on the left and its "
    "reconstruction, the mean of p(x | z) at its latent, on the right. A low log p(x) means that "
    "the observation is unlikely under the model; a large log p(x) − ELBO, or a large k̂, that "
    "its q(z | x) is inaccurate."
)

EACH = 4
"""Data of a kind, worst, middling or best."""


class Case(NamedTuple):
    """An observation to show, with its estimates.

    Attributes:
        kind: Its kind, such as "worst"; observations of a kind are drawn side by side.
        number: Index of the observation.
        log_prob: Estimate of log p(x), in nats; NaN where unknown, as the next two.
        elbo: Its lower bound.
        khat: Pareto shape of its weights.
    """

    kind: str
    number: int
    log_prob: float
    elbo: float
    khat: float

    @property
    def label(self) -> str:
        """Label of three lines."""
        return (
            f"no. {self.number}\nlog p(x) {_number(self.log_prob, 1)}\n"
            f"ELBO {_number(self.elbo, 1)}, k̂ {_number(self.khat, 2)}"
        )


def choose(score: Tensor, each: int = EACH) -> dict[str, list[int]]:
    """The worst, middling and best data, none of them twice; fewer if there are fewer.

    Args:
        score: Score ``(data,)``, larger for better data; NaN counts as the worst.
        each: Number of each kind.

    Example:
        >>> choose(torch.tensor([5.0, 1.0, 3.0, 2.0, 4.0]), each=1)
        {'worst': [1], 'middling': [2], 'best': [0]}
        >>> choose(torch.tensor([5.0, 1.0]), each=2)
        {'worst': [1], 'best': [0]}
    """
    order = score.nan_to_num(nan=-torch.inf).argsort(stable=True).tolist()
    each = min(each, max(len(order) // 3, 1))
    worst, best = order[:each], order[each:][-each:][::-1]
    between = order[each : max(len(order) - each, each)]
    middle = max(len(between) - each, 0) // 2
    kinds = {"worst": worst, "middling": between[middle : middle + each], "best": best}
    return {kind: numbers for kind, numbers in kinds.items() if numbers}


@styled
def extremes(data: Dataset, x: Tensor, means: Tensor, cases: Sequence[Case]) -> Figure:
    """Data of several kinds with their reconstructions, a row for each kind.

    Args:
        data: Data set of ``x``.
        x: Observations ``(n, *shape)``: ``(channels, height, width)`` with one or three channels
            are images, all else is drawn variable by variable, pairs of numbers in a plane.
        means: Their reconstructions, of the same shape.
        cases: Estimates for each, ``n`` of them.
    """
    x, means = x.cpu(), means.cpu()
    kinds = list(dict.fromkeys(case.kind for case in cases))
    columns = max(sum(case.kind == kind for case in cases) for kind in kinds)
    columns = max(columns, 3)
    images = data.are_images
    flat = data.shape.numel() == 2 and not images
    row = 2.2 if not images else 0.62 + 8.2 / columns / 2 * data.shape[1] / data.shape[2]
    title = f"{data.name}: {_joined(kinds)} data and their reconstructions"
    figure = new_figure(title, 0.8 + row * len(kinds))
    panels = figure.subplots(
        len(kinds), columns, squeeze=False, sharex=not images, sharey=not images
    )
    for rank, kind in enumerate(kinds):
        members = [n for n, case in enumerate(cases) if case.kind == kind]
        for axes, n in zip(panels[rank], members, strict=False):
            if images:
                _draw_image(axes, x[n], means[n], intensities(data, x))
            elif flat:
                _draw_point(axes, x, x[n], means[n])
            else:
                _draw_row(axes, variables_in(data), torch.stack([x[n], means[n]]).flatten(1))
            axes.set_title(cases[n].label, fontsize=8.5, linespacing=1.25)
        for axes in panels[rank, len(members) :]:
            axes.set_axis_off()
        panels[rank, 0].set_ylabel(kind, fontsize=12, labelpad=8)
    if not images:
        handles = panels[0, 0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside lower center", ncols=3)
    return figure


def _draw_image(axes: Axes, x: Tensor, mean: Tensor, shades: tuple[float, float]) -> None:
    black, white = shades
    gap = max(1, x.shape[-1] // 14)
    between = torch.ones(x.shape[0], x.shape[1], gap)
    pair = [((image - black) / ((white - black) or 1.0)).clamp(0, 1) for image in (x, mean)]
    joined = torch.cat([pair[0], between, pair[1]], dim=-1).nan_to_num(1.0)
    shown = np.moveaxis(joined.expand(3, -1, -1).numpy(), 0, -1)
    axes.imshow(shown, interpolation="nearest")
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.set(xticks=[], yticks=[])


def _draw_row(axes: Axes, variables: Variables, pair: Tensor) -> None:
    few = variables.few
    style: dict[str, Any] = {"markersize": 4.0 if few else 1.2, "linewidth": 1.2 if few else 0.7}
    draw_rows(axes, variables, pair, (DATA, MODEL), ("observation", "reconstruction"), **style)


def _draw_point(axes: Axes, others: Tensor, x: Tensor, mean: Tensor) -> None:
    """A point among the others that are shown."""
    others, x, mean = others.flatten(1), x.flatten(), mean.flatten()
    axes.scatter(others[:, 0], others[:, 1], s=9, color=THREAD, linewidths=0)
    axes.plot(*torch.stack([x, mean]).T, color=THREAD, linewidth=1)
    axes.scatter(x[0], x[1], s=34, color=DATA, label="observation", zorder=3)
    axes.scatter(mean[0], mean[1], s=34, color=MODEL, label="reconstruction", zorder=3)


def _joined(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _number(value: float, digits: int) -> str:
    if np.isnan(value):
        return "unknown"
    return f"{value:.{digits}f}".replace("-", "−").replace("inf", "∞")
