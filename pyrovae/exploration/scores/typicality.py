"""The score of a datum whose likelihood is unlike that of the data fitted to."""

from __future__ import annotations

from torch import Tensor

from pyrovae.exploration.scores.inputs import ScoreInputs


def typicality(seen: ScoreInputs) -> Tensor:
    r"""How far log p(x) is from what it is on average, too low or too high, ``(data,)``.

    .. math::
        \left| -\log p(x) - H \right|, \qquad
        H = -\frac1N \sum_n \log p(x_n), \quad x_n \text{ of the training data}

    The test of the source is for a batch of data, whose mean takes the place of log p(x): here
    it has one datum, for which it is weakest.

    Raises:
        SpecError: The guide is a point.

    References:
        Nalisnick et al. (2019), *Detecting Out-of-Distribution Inputs to Deep Generative Models
        Using Typicality*, arXiv:1906.02994.
    """
    seen.require_density()
    return (seen.judged.log_prob - seen.train_log_prob.mean()).abs()
