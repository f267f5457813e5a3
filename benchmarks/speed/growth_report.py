"""What growth.py has measured, as a Markdown page and as pictures."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PIXELS = 784
STAGES = ("imported", "data", "built", "training", "fingerprint", "epoch", "evaluated")
Point = dict[str, Any]


def report(results: dict[str, Any]) -> str:
    """All numbers as Markdown."""
    points = results["points"]
    parts = [f"{results['hardware']}; medians over {results['rounds']} rounds."]
    if any(point["axis"] == "data" for point in points):
        parts += [time_table(points), memory_table(points)]
    if any("ms_per_step" in point for point in points):
        parts.append(step_table(points))
    return "\n\n".join(parts) + "\n"


def time_table(points: Sequence[Point]) -> str:
    """Time per epoch, and the power of the number of data that it grows with."""
    rows = []
    before: tuple[int, float] | None = None
    for count, seconds in epochs(points).items():
        slope = "" if before is None else f"{power(before, (count, seconds)):.2f}"
        how = next(p["epoch"] for p in points if p.get("value") == count and "epoch" in p)
        rows.append([f"{count:,}", f"{seconds:.3g}", f"{1e6 * seconds / count:.1f}", slope, how])
        before = count, seconds
    titles = ["training data", "s per epoch", "µs per datum", "slope (log-log)", "an epoch is"]
    return markdown(titles, rows)


def memory_table(points: Sequence[Point]) -> str:
    """Peaks up to each stage, and what one datum adds to them."""
    kinds = ["", ", GPU"] if any("data, GPU" in p.get("peak_bytes", {}) for p in points) else [""]
    rows = []
    for kind in kinds:
        found = peaks(points, kind)
        for count, by_stage in found.items():
            texts = [
                f"{by_stage[stage] / 1e6:.0f}" if stage in by_stage else "" for stage in STAGES
            ]
            rows.append([f"{count:,}" if count else f"none (floor{kind})", *texts])
        small, large = (sorted(found)[i] for i in (-2, -1))
        added = [
            f"{(found[large][stage] - found[small][stage]) / (large - small):.0f}"
            for stage in STAGES
        ]
        rows.append([f"bytes per datum{kind}, {small:,} to {large:,}", *added])
    return "Peak memory (MB) up to the end of each stage.\n\n" + markdown(
        ["training data", *STAGES], rows
    )


def step_table(points: Sequence[Point]) -> str:
    """Time per step, captured and not."""
    rows = []
    for (axis, objective), curves in steps(points).items():
        for value in sorted({value for curve in curves.values() for value in curve}):
            times = [curves.get(mode, {}).get(value) for mode in ("off", "on")]
            texts = ["" if seconds is None else f"{seconds:.2f}" for seconds in times]
            rows.append([axis, objective, str(value), *texts])
    return markdown(["axis", "objective", "value", "ms, as it is", "ms, captured"], rows)


def markdown(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [titles, ["---"] + ["---:"] * (len(titles) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def epochs(points: Sequence[Point]) -> dict[int, float]:
    """Seconds per epoch by number of data, medians over rounds."""
    found: dict[int, list[float]] = {}
    for point in points:
        if "epoch_seconds" in point:
            found.setdefault(point["value"], []).append(point["epoch_seconds"])
    return {count: statistics.median(found[count]) for count in sorted(found)}


def peaks(points: Sequence[Point], kind: str = "") -> dict[int, dict[str, float]]:
    """Peaks by number of data, 0 for the floor, and stage; medians over rounds."""
    found: dict[int, dict[str, list[int]]] = {}
    for point in points:
        for stage in STAGES:
            if f"{stage}{kind}" in point.get("peak_bytes", {}):
                by_stage = found.setdefault(point.get("value", 0), {})
                by_stage.setdefault(stage, []).append(point["peak_bytes"][f"{stage}{kind}"])
    return {
        count: {stage: statistics.median(values) for stage, values in found[count].items()}
        for count in sorted(found)
    }


def steps(points: Sequence[Point]) -> dict[tuple[str, str], dict[str, dict[int, float]]]:
    """Milliseconds per step by axis and objective, by mode, by value; medians over rounds."""
    found: dict[tuple[str, str], dict[str, dict[int, list[float]]]] = {}
    for point in points:
        if "ms_per_step" in point:
            curves = found.setdefault((point["axis"], point["objective"]), {})
            times = curves.setdefault(point["compile"], {})
            times.setdefault(point["value"], []).append(point["ms_per_step"])
    return {
        key: {
            mode: {value: statistics.median(times) for value, times in curve.items()}
            for mode, curve in curves.items()
        }
        for key, curves in found.items()
    }


def power(one: tuple[float, float], other: tuple[float, float]) -> float:
    """The slope between two points on logarithmic axes."""
    return math.log(other[1] / one[1]) / math.log(other[0] / one[0])


def draw(points: Sequence[Point], folder: Path) -> None:
    """Write the pictures for which there are points."""
    if epochs(points):
        draw_time(points).savefig(folder / "growth-time.png")
        draw_memory(points).savefig(folder / "growth-memory.png")
    if steps(points):
        draw_steps(points).savefig(folder / "growth-steps.png")


def new_figure(title: str, columns: int, names: Sequence[str], unit: str) -> Any:
    """Axes side by side, both logarithmic."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5 + 3.4 * (columns - 1), 4), dpi=160, layout="constrained")
    figure.suptitle(title)
    panels = figure.subplots(1, columns, squeeze=False, sharey=True)[0]
    for axes, name in zip(panels, names, strict=True):
        axes.set(xscale="log", yscale="log", xlabel=name)
        axes.yaxis.set_major_formatter("{x:g}")
        axes.grid(color="#e8eaed")
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel(unit)
    return figure


def draw_time(points: Sequence[Point]) -> Any:
    figure = new_figure("Time per epoch", 1, ["training data"], "seconds")
    axes = figure.axes[0]
    seconds = epochs(points)
    counts = list(seconds)
    straight = [count * seconds[counts[-1]] / counts[-1] for count in counts]
    axes.plot(counts, straight, color="#b9bec6", dashes=(4, 3), label="proportional to the data")
    axes.plot(counts, list(seconds.values()), "o-", color="#22577a", label="measured")
    axes.legend(frameon=False)
    return figure


def draw_memory(points: Sequence[Point]) -> Any:
    figure = new_figure("Peak memory of a run", 1, ["training data"], "MB")
    axes = figure.axes[0]
    found = peaks(points)
    counts = [count for count in found if count]
    whole = [found[count]["evaluated"] / 1e6 for count in counts]
    stored = [PIXELS * count / 1e6 for count in counts]
    axes.plot(counts, whole, "o-", color="#22577a", label="measured")
    if 0 in found:
        floor = found[0]["imported"] / 1e6
        axes.axhline(floor, color="#f2b134", label="imports alone")
        once = [floor + size for size in stored]
        axes.plot(counts, once, color="#b9bec6", dashes=(4, 3), label="imports, and the data once")
    axes.plot(counts, stored, color="#b9bec6", linewidth=1, label="the data once")
    axes.legend(frameon=False)
    return figure


def draw_steps(points: Sequence[Point]) -> Any:
    from matplotlib.ticker import LogLocator

    found = steps(points)
    names = list(dict.fromkeys(axis for axis, _ in found))
    figure = new_figure("Time per step", len(names), names, "ms")
    colours = {"elbo": "#22577a", "iwae": "#e4572e"}
    for (axis, objective), curves in found.items():
        axes = figure.axes[names.index(axis)]
        for mode, curve in curves.items():
            how = "captured" if mode == "on" else "as it is"
            values = sorted(curve)
            axes.plot(
                values, [curve[value] for value in values], "o-" if mode == "on" else "o--",
                color=colours[objective], label=f"{objective.upper()}, {how}",
            )  # fmt: skip
        axes.set_xticks(sorted({value for curve in curves.values() for value in curve}))
        axes.xaxis.set_major_formatter("{x:.0f}")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.minorticks_off()
        axes.tick_params(axis="x", labelsize=8)
        axes.legend(frameon=False)
    return figure
