"""The β-VAE score: prediction of the shared factor from differences of latents."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from pyrovae.exploration.disentanglement.fixed_factor import Fixing, observe
from pyrovae.exploration.disentanglement.latents_with_factors import Array, coded

TRAIN, TEST = 10_000, 5_000


def beta_vae(
    codes: Array | Tensor,
    factors: Array | Tensor,
    *,
    seed: int = 0,
    train: int = TRAIN,
    test: int = TEST,
) -> float:
    r"""Accuracy of a linear classifier of the factor that pairs of observations share.

    An input of the classifier comes from 64 pairs of observations, equal in a factor k that is
    drawn at random:

    .. math::
        \frac1{64} \sum_{b=1}^{64} \bigl| z^{(b)}_1 - z^{(b)}_2 \bigr|

    of the means of q(z | x). Logistic regression (C = 1) is fitted to 10 000 inputs and tested on
    5 000 others. NaN where only one factor varies. Chance is one over the number of factors. The
    scale of the latent matters to the regularisation.

    The score is one even where a factor is spread over several dimensions and another is in none
    (Kim and Mnih 2018, arXiv:1802.05983). In the paper the classifier is trained by gradient
    descent, and not regularised.

    Args:
        codes: Means of q(z | x), ``(n, dims)``.
        factors: Known factors as integers, ``(n, factors)``; constant ones are left out.
        seed: Seed of all random draws.
        train: Number of inputs that the classifier is fitted to.
        test: Number of inputs that it is tested on.

    Raises:
        DataError: Latents and factors cannot be scored (see
            :func:`pyrovae.exploration.disentanglement.latents_with_factors.coded`).

    References:
        Higgins et al. (2017), *beta-VAE: Learning Basic Visual Concepts with a Constrained
        Variational Framework*, ICLR; the protocol is that of Locatello et al. (2019),
        arXiv:1811.12359.
    """
    both = coded(codes, factors)
    if len(both.varying) < 2:
        return float("nan")
    random, fixing = np.random.default_rng(seed), Fixing(both.factors)

    def mean_difference(rows: Array, factor: int) -> Array:
        first = both.codes[rows].astype(np.float64)
        return np.abs(first - both.codes[fixing.same(random, rows, factor)]).mean(1)

    classifier = LogisticRegression(max_iter=1000)
    classifier.fit(*observe(random, both, fixing, train, mean_difference))
    return float(classifier.score(*observe(random, both, fixing, test, mean_difference)))
