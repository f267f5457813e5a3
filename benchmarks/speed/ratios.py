"""How much longer one peer takes than another, and how sure that is."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

Times = np.ndarray[Any, np.dtype[np.float64]]
RESAMPLES = 10_000


class Ratio(NamedTuple):
    """Milliseconds per step of one peer over those of another.

    Attributes:
        value: The ratio of the medians over all rounds.
        low: Where the middle 95 % of that ratio begin when rounds are drawn anew (bootstrap).
        high: Where they end.
        quartiles: Of the ratios within each round, which saw the machine in the same state.
    """

    value: float
    low: float
    high: float
    quartiles: tuple[float, float, float]


def ratio(over: Times, under: Times) -> Ratio:
    """The ratio of two peers, round by round side by side, ``(rounds,)`` each.

    Rounds are drawn together for both peers: a slow minute was slow for both.
    """
    drawn = np.random.default_rng(0).integers(len(over), size=(RESAMPLES, len(over)))
    medians = np.median(over[drawn], axis=1) / np.median(under[drawn], axis=1)
    low, high = np.quantile(medians, [0.025, 0.975])
    first, second, third = np.quantile(over / under, [0.25, 0.5, 0.75])
    return Ratio(
        value=float(np.median(over) / np.median(under)),
        low=float(low),
        high=float(high),
        quartiles=(float(first), float(second), float(third)),
    )
