"""Mutual information gap (MIG) between the two most informative dimensions of a factor."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from sklearn.metrics import mutual_info_score
from torch import Tensor

from pyrovae.exploration.disentanglement.latents_with_factors import Array, coded

COUNT, BINS = 10_000, 20


class MIG(NamedTuple):
    """The mutual information gap and the quantities that it comes from.

    Attributes:
        score: Mean gap of the factors that vary.
        gaps: Gap of each factor, ``(factors,)``; NaN for one that does not vary.
        information: I(z_d; v_k) in nats, ``(dims, factors)``.
        entropy: H(v_k) in nats, ``(factors,)``.
    """

    score: float
    gaps: Array
    information: Array
    entropy: Array


def mig(
    codes: Array | Tensor,
    factors: Array | Tensor,
    *,
    seed: int = 0,
    count: int = COUNT,
    bins: int = BINS,
) -> MIG:
    r"""Information gap between the two best dimensions, as a share of the factor's entropy.

    .. math::
        \frac1K \sum_{k=1}^K \frac{1}{H(v_k)}
        \Bigl( I(z_{d_k}; v_k) - \max_{d \ne d_k} I(z_d; v_k) \Bigr),
        \qquad d_k = \arg\max_d I(z_d; v_k)

    of the means of q(z | x) in 20 bins of equal width between the smallest and the largest, of 10
    000 data drawn without replacement. Information and entropy are plug-in estimates from the
    counts; the information is biased upwards by up to (bins − 1)(values − 1) / (2 · 10 000) nats.

    A factor with more values than bins cannot be known entirely: on dSprites, latents equal to the
    factors have MIG 0.90. With a single dimension, the second best has no information.

    The paper's own experiments integrate over q(z | x) instead of binning its means; numbers of
    the two kinds cannot be compared.

    Args:
        codes: Means of q(z | x), ``(n, dims)``.
        factors: Known factors as integers, ``(n, factors)``; constant ones are left out.
        seed: Seed of the data that are drawn.
        count: Number of data drawn; all, if there are fewer.
        bins: Number of bins of each dimension.

    Raises:
        DataError: Latents and factors cannot be scored (see
            :func:`pyrovae.exploration.disentanglement.latents_with_factors.coded`).

    References:
        Chen, Li, Grosse and Duvenaud (2018), *Isolating Sources of Disentanglement in Variational
        Autoencoders*, arXiv:1802.04942; the protocol is that of Locatello et al. (2019),
        arXiv:1811.12359.
    """
    both = coded(codes, factors)
    drawn = both.sample(np.random.default_rng(seed), count)
    binned = np.stack([into_bins(dim, bins) for dim in drawn.codes.T])
    information = np.array(
        [[mutual_info_score(factor, dim) for factor in drawn.factors.T] for dim in binned]
    )
    entropy = np.array([mutual_info_score(factor, factor) for factor in drawn.factors.T])
    gaps = np.full(len(entropy), np.nan)
    known = entropy > 0
    gaps[known] = gap_of_best_two(information)[known] / entropy[known]
    return MIG(float(np.nanmean(gaps)), gaps, information, entropy)


def into_bins(values: Array, bins: int) -> Array:
    """Index of the bin, among equally wide ones, of each of the values ``(n,)``."""
    return np.digitize(values, np.histogram_bin_edges(values, bins)[1:-1])


def gap_of_best_two(table: Array) -> Array:
    """Largest minus second largest of each column, ``(dims, factors)``; of one, itself."""
    ranked = np.sort(np.pad(table, ((1, 0), (0, 0))) if len(table) < 2 else table, 0)
    return ranked[-1] - ranked[-2]
