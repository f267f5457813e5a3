"""What was measured, as Markdown."""

from __future__ import annotations

from typing import Any


def markdown(measured: dict[str, Any]) -> str:
    """One table of times and one of bars for each problem."""
    lines = ["# Milliseconds per step", "", *heading(measured)]
    for report in measured["problems"]:
        lines += [
            "",
            f"## {report['problem']}, blocks of {report['steps']} steps",
            "",
            *times(report),
            "",
            *bars(report),
        ]
        for peer, reason in {**measured["skipped"], **report.get("failed", {})}.items():
            lines += ["", f"Without {peer}: {reason}."]
        for peer in report["astray"]:
            lines += ["", f"**{peer} has not learned what the others have: look there first.**"]
    return "\n".join(lines) + "\n"


def heading(measured: dict[str, Any]) -> list[str]:
    """On what, with what."""
    machine, options = measured["machine"], measured["options"]
    versions = ", ".join(f"{k} {v}" for k, v in machine["versions"].items() if v)
    place = machine["gpu"] or machine["processor"]
    return [
        f"{machine['date']}, commit {machine['commit']}. {place}, {options['threads']} cores, "
        f"{options['blocks']} rounds. {versions}.",
    ]


def times(report: dict[str, Any]) -> list[str]:
    """A line for each peer, the fastest first."""
    summary = report["summary"]["peers"]
    lines = [
        "| peer | median | min | images/s | ours / peer | 95 % | quartiles within rounds "
        "| warm after | loss before → after |",
        "|---|---:|---:|---:|---:|---|---|---:|---|",
    ]
    for name in sorted(summary, key=lambda name: summary[name]["median_ms"]):
        numbers, peer = summary[name], report["peers"][name]
        lines.append(
            f"| {name} | {numbers['median_ms']:.3f} | {numbers['min_ms']:.3f} "
            f"| {numbers['images_per_second']:,.0f} | {spread(numbers['ours_over_it'])} "
            f"| {peer['warm_up_seconds']:.1f} s "
            f"| {peer['loss_before']:.3f} → {peer['loss_after']:.1f} |"
        )
    return lines


def spread(ratio: dict[str, Any] | None) -> str:
    """Three cells: the ratio of medians, its interval, the quartiles of the rounds."""
    if ratio is None:
        return "| | "
    quartiles = ", ".join(f"{value:.2f}" for value in ratio["quartiles"])
    return f"{ratio['value']:.3f} | {ratio['low']:.2f} – {ratio['high']:.2f} | {quartiles}"


def bars(report: dict[str, Any]) -> list[str]:
    """A line for each bar."""
    lines = ["| bar | at most | ratio of medians | 95 % | |", "|---|---:|---:|---|---|"]
    for bar in report["summary"]["bars"]:
        ratio = bar["ratio"]
        lines.append(
            f"| {bar['over']} / {bar['under']} | {bar['most']:.3g} | {ratio['value']:.3f} "
            f"| {ratio['low']:.2f} – {ratio['high']:.2f} | {'met' if bar['met'] else 'missed'} |"
        )
    return lines
