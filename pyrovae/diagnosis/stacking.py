"""How much each of several models should count in a mixture of them."""

from __future__ import annotations

import torch
from torch import Tensor

# Nats per datum that are left to gain; and how often to try for them.
TOLERANCE, MOST_STEPS = 1e-6, 20_000


def stacking_weights(log_prob: Tensor) -> Tensor:
    r"""The mixture of models that predicts best.

    .. math::
        \operatorname*{arg\,max}_{w \in \Delta} \frac1N \sum_n \log \sum_k w_k\, p_k(x_n)

    By expectation maximisation,

    .. math::
        w_k \leftarrow w_k\, g_k, \qquad
        g_k = \frac1N \sum_n \frac{p_k(x_n)}{\sum_j w_j\, p_j(x_n)},

    which never gets worse. The objective is concave, and no weights are better than w by more
    than :math:`\max_k \log g_k`: it stops when that is nothing.

    Args:
        log_prob: :math:`\log p_k(x_n)` in nats, ``(models, data)``.

    Returns:
        ``(models,)``, not negative, summing to one. Models that predict alike share a weight in
        some way or other.

    References:
        Yao, Vehtari, Simpson and Gelman (2018), *Using stacking to average Bayesian predictive
        distributions*, arXiv:1704.02030; Cover (1984), *An algorithm for maximizing expected log
        investment return*, for the algorithm and when to stop.

    Example:
        >>> stacking_weights(torch.tensor([[-1.0, -1.0], [-9.0, -9.0]]).double()).round(decimals=3)
        tensor([1., 0.], dtype=torch.float64)
    """
    log_weight = log_prob.new_zeros(len(log_prob)).log_softmax(0)
    for _ in range(MOST_STEPS):
        joint = log_weight.unsqueeze(-1) + log_prob
        log_gain = (log_prob - joint.logsumexp(0)).logsumexp(-1) - torch.tensor(
            float(log_prob.shape[-1])
        ).log()
        if log_gain.max() < TOLERANCE:
            break
        log_weight = log_weight + log_gain
    return log_weight.softmax(0)
