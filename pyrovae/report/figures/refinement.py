"""Picture of a guide before and after its refinement."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pyrovae.diagnosis.agreement import Agreement
from pyrovae.diagnosis.calibration import COVERAGE_FAIL, INTERVAL, NOMINAL
from pyrovae.report.figures.style import DATA, GREY, MODEL, new_figure, styled

CAPTION = (
    f"On data drawn from the model, whose latents are known. Left, how often the {INTERVAL} "
    "intervals of the guide hold the latent, for each active latent dimension; in the grey band "
    "the coverage does not fail. Right, the divergence of guide and posterior in both directions; "
    "the gap between ELBO and log p(x) is at most as large on such data."
)


@styled
def refinement(before: Agreement, after: Agreement) -> Figure:
    """Coverage of each latent, and the divergence, before and after."""
    names = [*dict.fromkeys([*before.coverage, *after.coverage])]
    figure = new_figure("The guide before and after refinement", 1.8 + 0.25 * len(names))
    left, right = figure.subplots(1, 2, width_ratios=(2, 1))
    _draw_coverage(left, names, before, after)
    _draw_divergence(right, before, after)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def _draw_coverage(axes: Axes, names: list[str], before: Agreement, after: Agreement) -> None:
    axes.axvspan(100 * (NOMINAL - COVERAGE_FAIL), 100 * (NOMINAL + COVERAGE_FAIL), color=GREY,
                 alpha=0.4, linewidth=0)  # fmt: skip
    for label, colour, found in (("before", MODEL, before), ("after", DATA, after)):
        rows = [names.index(name) for name in found.coverage]
        values = [100 * value for value in found.coverage.values()]
        axes.plot(values, rows, "o", color=colour, label=label)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set(xlabel=f"coverage of {INTERVAL} intervals, %")
    axes.set_xlim(right=100)


def _draw_divergence(axes: Axes, before: Agreement, after: Agreement) -> None:
    values = [before.divergence.nats, after.divergence.nats]
    errors = [before.divergence.error, after.divergence.error]
    axes.bar(["before", "after"], values, yerr=errors, color=[MODEL, DATA], width=0.6)
    axes.set(ylabel="KL(p, q) + KL(q, p), nats")
    axes.grid(visible=False, axis="x")
