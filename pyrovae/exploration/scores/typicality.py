"""Typicality: deviation of the likelihood from that of the training data."""

from __future__ import annotations

from torch import Tensor

from pyrovae.exploration.scores.inputs import ScoreInputs


def typicality(seen: ScoreInputs) -> Tensor:
    r"""Absolute deviation of log p(x) from its mean over training data, ``(data,)``.

    .. math::
        \left| -\log p(x) - H \right|, \qquad
        H = -\frac1N \sum_n \log p(x_n), \quad x_n \text{ of the training data}

    The source tests a batch of data by the mean of log p(x) over it. This is the test for a batch
    of one observation, for which it is weakest.

    Raises:
        SpecError: The guide is a point.

    References:
        Nalisnick et al. (2019), *Detecting Out-of-Distribution Inputs to Deep Generative Models
        Using Typicality*, arXiv:1906.02994.
    """
    seen.require_density()
    return (seen.judged.log_prob - seen.train_log_prob.mean()).abs()
