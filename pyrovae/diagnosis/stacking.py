"""Stacking of predictive distributions: weights of models in a mixture."""

from __future__ import annotations

import math

from torch import Tensor

from pyrovae.errors import DataError

# Nats per observation left to gain at which to stop, and the largest number of steps.
TOLERANCE, MOST_STEPS = 1e-6, 20_000


def stacking_weights(log_prob: Tensor) -> Tensor:
    r"""Weights of the mixture of models that predicts best.

    .. math::
        \operatorname*{arg\,max}_{w \in \Delta} \frac1N \sum_n \log \sum_k w_k\, p_k(x_n)

    By expectation maximisation,

    .. math::
        w_k \leftarrow w_k\, g_k, \qquad
        g_k = \frac1N \sum_n \frac{p_k(x_n)}{\sum_j w_j\, p_j(x_n)},

    which never gets worse. The objective is concave, and no weights are better than w by more
    than :math:`\max_k \log g_k`: iteration stops when that is negligible.

    Args:
        log_prob: :math:`\log p_k(x_n)` in nats, ``(models, data)``; :math:`-\infty` where a model
            gives an observation no mass, which leaves that observation to the others.

    Returns:
        float64 ``(models,)``, not negative, summing to one. How models that predict alike share
        their weight is arbitrary.

    Raises:
        DataError: There is nothing to weigh; a log-density is NaN or :math:`+\infty`; or no model
            gives an observation any mass, so that all weights are as bad. Names the observation.

    References:
        Yao, Vehtari, Simpson and Gelman (2018), *Using stacking to average Bayesian predictive
        distributions*, arXiv:1704.02030; Cover (1984), *An algorithm for maximizing expected log
        investment return*, for the algorithm and when to stop.

    Example:
        >>> import torch
        >>> stacking_weights(torch.tensor([[-1.0, -1.0], [-9.0, -9.0]]).double()).round(decimals=3)
        tensor([1., 0.], dtype=torch.float64)
    """
    _require_mass(log_prob)
    log_prob = log_prob.double()
    log_weight = log_prob.new_zeros(len(log_prob)).log_softmax(0)
    for _ in range(MOST_STEPS):
        joint = log_weight.unsqueeze(-1) + log_prob
        log_gain = (log_prob - joint.logsumexp(0)).logsumexp(-1) - math.log(log_prob.shape[-1])
        if log_gain.max() < TOLERANCE:
            break
        log_weight = log_weight + log_gain
    return log_weight.softmax(0)


def _require_mass(log_prob: Tensor) -> None:
    """Refuse log-densities that are not valid, and observations without mass in any model."""
    if log_prob.ndim != 2 or not log_prob.numel():
        raise DataError(
            f"log_prob has the shape {tuple(log_prob.shape)}: stacking needs (models, data), at "
            "least one of each"
        )
    wrong = (log_prob.isnan() | log_prob.isposinf()).nonzero()
    if len(wrong):
        model, number = wrong[0].tolist()
        raise DataError(
            f"log p(x) of observation {number} under model {model} is "
            f"{log_prob[model, number].item()}: stacking needs finite numbers, or -inf where a "
            "model gives no mass"
        )
    impossible = log_prob.isneginf().all(0).nonzero().flatten().tolist()
    if impossible:
        raise DataError(
            f"no model gives any mass to observation {impossible[0]} ({len(impossible)} such of "
            f"{log_prob.shape[-1]}), so that no mixture of them is better than another: leave it "
            "out, or add a model that can explain it"
        )
