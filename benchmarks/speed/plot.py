"""What was measured, as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

OURS, OTHERS = "#0072b2", "#8c8c8c"
COLUMNS = 2


def draw(measured: dict[str, Any], path: Path) -> None:
    """For each problem a row of boxes, the fastest peer on top."""
    reports = measured["problems"]
    columns = min(COLUMNS, len(reports))
    rows = -(-len(reports) // columns)
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(5.2 * columns, 0.6 + 2.9 * rows),
        squeeze=False,
        layout="constrained",
    )
    for axis, report in zip(axes.flat, reports, strict=False):
        boxes(axis, report)
    for axis in axes.flat[len(reports) :]:
        axis.remove()
    machine, options = measured["machine"], measured["options"]
    place = machine["gpu"] or machine["processor"]
    figure.suptitle(
        f"{place}, {options['threads']} cores; {options['blocks']} rounds\n"
        "numbers: medians; boxes: quartiles of the rounds; whiskers: 5 and 95 %",
        fontsize=9,
    )
    figure.savefig(path, dpi=150)
    plt.close(figure)


def boxes(axis: Axes, report: dict[str, Any]) -> None:
    """One problem: milliseconds per step of every round, and the median in words."""
    summary = report["summary"]["peers"]
    names = sorted(summary, key=lambda name: summary[name]["median_ms"])
    drawn = axis.boxplot(
        [report["peers"][name]["blocks"] for name in names],
        orientation="horizontal",
        tick_labels=names,
        whis=(5, 95),
        showfliers=False,
        widths=0.6,
        patch_artist=True,
        medianprops={"color": "black"},
    )
    for box, name in zip(drawn["boxes"], names, strict=True):
        box.set_facecolor(OURS if name.startswith("ours") else OTHERS)
        box.set_alpha(0.8)
    ends = [line.get_xdata().max() for line in drawn["whiskers"][1::2]]
    for place, (name, end) in enumerate(zip(names, ends, strict=True), start=1):
        median = summary[name]["median_ms"]
        text = f"{median:.0f}" if median >= 100 else f"{median:.3g}"
        axis.annotate(
            text, (end, place), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8
        )
    axis.invert_yaxis()
    axis.set_xlim(0, 1.12 * max(ends))
    axis.set_title(report["problem"], loc="left", fontsize=10, fontweight="bold")
    axis.set_xlabel("ms per step")
    axis.spines[["top", "right"]].set_visible(False)
