"""AUROC and AUPRC of a score between two data sets."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score

# 95 %: the quantile of the normal, and the probability beyond each end.
QUANTILE, BEYOND = 1.959964, 0.025

Array = NDArray[Any]
Interval = tuple[float, float]


class Separation(NamedTuple):
    """AUROC and AUPRC, with intervals of 95 %.

    Attributes:
        auroc: Probability that an observation from outside has the higher score, with ties counted
            half; 0.5 for an uninformative score.
        auroc_interval: Interval by DeLong's variance, on the scale of log-odds.
        auprc: Average precision: mean, over the data from outside, of the share of these among
            all data of at least their score. Without information it is that share of all data.
        auprc_interval: Binomial interval, with as many trials as data from outside, likewise.
    """

    auroc: float
    auroc_interval: Interval
    auprc: float
    auprc_interval: Interval


def separation(inside: Array, outside: Array) -> Separation:
    """Compute AUROC and AUPRC of a score that is higher for data from outside.

    Args:
        inside: Scores ``(n,)``, finite.
        outside: Scores ``(m,)``, finite.

    Example:
        >>> separation(np.array([0.0, 1.0, 2.0]), np.array([1.0, 3.0, 4.0])).auroc
        0.833...

    References:
        DeLong, DeLong and Clarke-Pearson (1988), *Comparing the Areas under Two or More
        Correlated Receiver Operating Characteristic Curves*, Biometrics 44; Boyd, Eng and Page
        (2013), *Area under the Precision-Recall Curve: Point Estimates and Confidence
        Intervals*, ECML, for the interval of the average precision.
    """
    scores = np.concatenate([inside, outside])
    is_outside = np.arange(len(scores)) >= len(inside)
    # A sum of halves is exact, so that sets that do not overlap come out as exactly 1.
    m = len(outside)
    above = rankdata(scores)[is_outside].sum() - m * (m + 1) / 2
    auroc = float(above / (m * len(inside)))
    auprc = min(round(float(average_precision_score(is_outside, scores)), 12), 1.0)  # likewise
    smaller = min(len(inside), len(outside))
    binomial = math.sqrt(auprc * (1 - auprc) / len(outside))
    return Separation(
        auroc,
        _interval(auroc, standard_error(inside, outside), smaller),
        auprc,
        _interval(auprc, binomial, len(outside)),
    )


def standard_error(inside: Array, outside: Array) -> float:
    r"""DeLong's standard error of the AUROC; NaN if a set has a single observation.

    .. math::
        \frac{\operatorname{Var}_j F(y_j)}{m} + \frac{\operatorname{Var}_i G(x_i)}{n}

    is its square, where F is the share of x below, and G that of y above, ties counted half.
    """
    n, m = len(inside), len(outside)
    if min(n, m) < 2:
        return math.nan
    ranks = rankdata(np.concatenate([inside, outside]))
    below = (ranks[n:] - rankdata(outside)) / n
    above = 1 - (ranks[:n] - rankdata(inside)) / m
    return math.sqrt(below.var(ddof=1) / m + above.var(ddof=1) / n)


def _interval(share: float, error: float, trials: int) -> Interval:
    """Interval of a share, from its standard error, or from the number of trials at 0 and 1."""
    if not math.isfinite(error):
        return 0.0, 1.0
    room = BEYOND ** (1 / trials)  # Clopper and Pearson's: this share comes out as 1 so rarely
    if share >= 1:
        return room, 1.0
    if share <= 0:
        return 0.0, 1 - room
    reach = QUANTILE * error / (share * (1 - share))
    return float(expit(logit(share) - reach)), float(expit(logit(share) + reach))
