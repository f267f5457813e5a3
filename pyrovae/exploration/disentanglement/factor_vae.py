"""The FactorVAE score: prediction of the fixed factor from the dimension that varies least."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from torch import Tensor

from pyrovae.exploration.disentanglement.fixed_factor import Fixing, observe
from pyrovae.exploration.disentanglement.latents_with_factors import Array, coded

VARIANCES, TRAIN, TEST = 10_000, 10_000, 5_000
PRUNED = 0.05
"""Standard deviation below which a dimension has collapsed, and has no vote."""


class FactorVAE(NamedTuple):
    """The FactorVAE score and the votes that it comes from.

    Attributes:
        score: Share of test votes that the majority of the training votes predicts.
        votes: Shares of the training votes for each dimension, ``(dims, factors)``: given that a
            factor is fixed, how often a dimension varies least. NaN for constant factors.
        active: Mask of the dimensions that may have votes, ``(dims,)``.
    """

    score: float
    votes: Array
    active: Array


def factor_vae(
    codes: Array | Tensor,
    factors: Array | Tensor,
    *,
    seed: int = 0,
    train: int = TRAIN,
    test: int = TEST,
) -> FactorVAE:
    r"""Accuracy with which the dimension that varies least predicts the fixed factor.

    A vote is a batch of 64 data that share the value of a factor k, drawn at random, and

    .. math::
        d^* = \arg\min_d \operatorname{Var}_{\text{batch}}(z_d) / \operatorname{Var}(z_d)

    of the means of q(z | x), the variance below of 10 000 data. The majority of 10 000 votes
    decides which factor each dimension stands for; the score is its accuracy on 5 000 further
    votes. Dimensions whose standard deviation is below 0.05 have no vote; if all are, the score is
    0. It is NaN where only one factor varies. Chance is one over the number of factors.

    Batches are drawn with replacement from the data that have the value: published numbers draw
    factors and make the data, which in dSprites, a full grid of factors, is the same.

    Args:
        codes: Means of q(z | x), ``(n, dims)``.
        factors: Known factors as integers, ``(n, factors)``; constant ones are left out.
        seed: Seed of all random draws.
        train: Number of votes that make the classifier.
        test: Number of votes that test it.

    Raises:
        DataError: Latents and factors cannot be scored (see
            :func:`pyrovae.exploration.disentanglement.latents_with_factors.coded`).

    References:
        Kim and Mnih (2018), *Disentangling by Factorising*, arXiv:1802.05983; the protocol is that
        of Locatello et al. (2019), arXiv:1811.12359.
    """
    both = coded(codes, factors)
    random = np.random.default_rng(seed)
    variance = both.sample(random, VARIANCES).codes.var(0, ddof=1)
    active = np.sqrt(variance) >= PRUNED
    shape = both.codes.shape[1], both.factors.shape[1]
    if not active.any():
        return FactorVAE(0.0, np.full(shape, np.nan), active)
    fixing = Fixing(both.factors)

    def normalised_variance(rows: Array, factor: int) -> Array:
        first = np.broadcast_to(rows[:, :1], rows.shape)
        batch = both.codes[fixing.same(random, first, factor)].astype(np.float64)
        return np.where(active, batch.var(1, ddof=1) / np.where(active, variance, 1.0), np.inf)

    def count_votes(count: int) -> Array:
        seen, fixed = observe(random, both, fixing, count, normalised_variance)
        votes = np.zeros(shape)
        np.add.at(votes, (seen.argmin(1), fixed), 1)
        return votes

    learned, judged = count_votes(train), count_votes(test)
    right = judged[np.arange(len(judged)), learned.argmax(1)].sum() / test
    per_factor = learned.sum(0)
    shares = np.divide(learned, per_factor, where=per_factor > 0, out=np.full(shape, np.nan))
    return FactorVAE(float(right) if len(both.varying) > 1 else np.nan, shares, active)
