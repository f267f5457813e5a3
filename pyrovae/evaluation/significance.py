"""Significance: intervals of fractions, and p-values corrected for multiple tests."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats


def fraction_interval(count: int, total: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's interval of a fraction, within [0, 1] also at counts of none or all.

    Example:
        >>> low, high = fraction_interval(0, 100)
        >>> low, round(high, 3)
        (0.0, 0.037)
    """
    interval = stats.binomtest(count, total).proportion_ci(level, method="wilson")
    return float(interval.low), float(interval.high)


def holm(p: NDArray[Any]) -> NDArray[Any]:
    """P-values of several tests, corrected by Holm's method.

    References:
        Holm (1979), *A Simple Sequentially Rejective Multiple Test Procedure*, Scandinavian
        Journal of Statistics 6.

    Example:
        >>> holm(np.array([0.04, 0.01, 0.5])).tolist()
        [0.08, 0.03, 0.5]
    """
    order = np.argsort(p)
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def p_value(p: float) -> str:
    """A p-value as text; an upper limit where it is below rounding.

    Example:
        >>> p_value(0.0043), p_value(0.0)
        ('p = 0.0043', 'p < 1e-16')
    """
    return "p < 1e-16" if p < 1e-16 else f"p = {p:.2g}"
