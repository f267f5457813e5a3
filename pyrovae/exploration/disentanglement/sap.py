"""Separated attribute predictability (SAP): accuracy gap of the two best dimensions."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from sklearn.svm import LinearSVC
from torch import Tensor

from pyrovae.exploration.disentanglement.latents_with_factors import Array, Coded, coded
from pyrovae.exploration.disentanglement.mig import gap_of_best_two

TRAIN, TEST = 10_000, 5_000


class SAP(NamedTuple):
    """The SAP score and the accuracies that it comes from.

    Attributes:
        score: Mean gap of the factors that vary.
        gaps: Gap of each factor, ``(factors,)``; NaN for one that does not vary.
        accuracy: Accuracy of each dimension for each factor, ``(dims, factors)``; NaN for factors
            that do not vary.
    """

    score: float
    gaps: Array
    accuracy: Array


def sap(
    codes: Array | Tensor,
    factors: Array | Tensor,
    *,
    seed: int = 0,
    train: int = TRAIN,
    test: int = TEST,
) -> SAP:
    r"""Gap between the two dimensions that classify a factor best, each by itself.

    .. math::
        \frac1K \sum_{k=1}^K \bigl( a_{(1)k} - a_{(2)k} \bigr)

    where :math:`a_{dk}` is the accuracy on 5 000 data of a linear support vector machine (C =
    0.01, balanced classes) that was fitted to z_d alone on 10 000 others, and (1), (2) are the two
    best dimensions. Computed on the means of q(z | x), all factors as classes.

    A linear classifier of one dimension cannot separate a class in the middle, so that even
    latents equal to the factors stay far below one. With a single dimension, the second best is an
    uninformative one. The scale of the latents matters to the regularisation.

    Args:
        codes: Means of q(z | x), ``(n, dims)``.
        factors: Known factors as integers, ``(n, factors)``; constant ones are left out.
        seed: Seed of the data, drawn without replacement.
        train: Number of data for fitting.
        test: Number of data for testing; if there are too few, all are used in this ratio.

    Raises:
        DataError: Latents and factors cannot be scored (see
            :func:`pyrovae.exploration.disentanglement.latents_with_factors.coded`).

    References:
        Kumar, Sattigeri and Balakrishnan (2018), *Variational Inference of Disentangled Latent
        Concepts from Unlabeled Observations*, arXiv:1711.00848; the protocol is that of Locatello
        et al. (2019), arXiv:1811.12359.
    """
    both = coded(codes, factors)
    dims = both.codes.shape[1]
    if dims == 1:
        both = Coded(np.pad(both.codes, ((0, 0), (0, 1))), both.factors)
    fitted, judged = both.halves(np.random.default_rng(seed), train, test)
    accuracy = np.full((both.codes.shape[1], both.factors.shape[1]), np.nan)
    for factor in both.varying:
        for dim in range(len(accuracy)):
            accuracy[dim, factor] = predictability(fitted, judged, dim, factor)
    gaps = gap_of_best_two(accuracy)
    return SAP(float(np.nanmean(gaps)), gaps, accuracy[:dims])


def predictability(fitted: Coded, judged: Coded, dim: int, factor: int) -> float:
    """Accuracy of a classifier of a factor from one dimension."""
    known, asked = fitted.factors[:, factor], judged.factors[:, factor]
    if known.min() == known.max():
        return float(np.mean(asked == known[0]))
    machine = LinearSVC(C=0.01, class_weight="balanced", dual="auto", random_state=0)
    machine.fit(fitted.codes[:, [dim]], known)
    return float(machine.score(judged.codes[:, [dim]], asked))
