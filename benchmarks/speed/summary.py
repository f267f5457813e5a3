"""From the blocks of every peer to medians, ratios and bars."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from bars import OURS, bars
from problems import PROBLEMS
from ratios import Times, ratio


def summarise(report: dict[str, Any], device: str) -> dict[str, Any]:
    """The numbers of one problem's table.

    Returns:
        For each peer its median and minimum (ms per step), images per second at the median, and
        ``ours captured / peer``; and for each bar whose peers were timed, whether it is met.
    """
    times = {name: np.asarray(peer["blocks"]) for name, peer in report["peers"].items()}
    batch = PROBLEMS[report["problem"]].batch
    return {
        "peers": {name: numbers(name, times, batch) for name in times},
        "bars": [
            judged(times[bar.over], times[bar.under], bar.most) | bar._asdict()
            for bar in bars(report["problem"], device)
            if bar.over in times and bar.under in times
        ],
    }


def numbers(name: str, times: dict[str, Times], batch: int) -> dict[str, Any]:
    """Of one peer."""
    median = float(np.median(times[name]))
    return {
        "median_ms": median,
        "min_ms": float(times[name].min()),
        "images_per_second": 1000 * batch / median,
        "ours_over_it": ratio(times[OURS], times[name])._asdict() if OURS in times else None,
    }


def judged(over: Times, under: Times, most: float) -> dict[str, Any]:
    """Whether a bar is met, to the two decimals in which it is given."""
    found = ratio(over, under)
    met = found.value <= most or math.isclose(found.value, most, rel_tol=1e-9)
    return {"ratio": found._asdict(), "met": met}
