"""The score of β-VAE: do differences of codes tell which factor is the same?"""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from pyrovae.exploration.disentanglement.coded import Array, coded
from pyrovae.exploration.disentanglement.fixing import Fixing, observe

TRAIN, TEST = 10_000, 5_000


def beta_vae(
    codes: Array | Tensor,
    factors: Array | Tensor,
    *,
    seed: int = 0,
    train: int = TRAIN,
    test: int = TEST,
) -> float:
    r"""Accuracy with which a linear classifier tells the factor that pairs of data share.

    An observation is 64 pairs of data, equal in a factor k that is drawn at random, and

    .. math::
        \frac1{64} \sum_{b=1}^{64} \bigl| z^{(b)}_1 - z^{(b)}_2 \bigr|

    of the means of q(z | x). Logistic regression (C = 1) is fitted to 10 000 of them and judged on
    5 000 others. NaN where a single factor varies, which is no question. Chance is one over the
    number of factors. The scale of a code matters to the regularisation.

    A factor may be in several dimensions, and one of the factors in none: the score is one all
    the same (Kim and Mnih 2018, arXiv:1802.05983). In the paper the classifier is trained by
    gradient descent, and not regularised.

    Args:
        codes: Means of q(z | x), ``(n, dims)``.
        factors: Known factors as integers, ``(n, factors)``; constant ones are left out.
        seed: Of all that is drawn.
        train: Observations that the classifier is fitted to.
        test: Observations that it is judged on.

    Raises:
        DataError: Codes and factors cannot be measured (see
            :func:`pyrovae.exploration.disentanglement.coded.coded`).

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
