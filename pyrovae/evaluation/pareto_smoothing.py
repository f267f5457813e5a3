"""Pareto-smoothed importance weights."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pyrovae.errors import SpecError
from pyrovae.evaluation.importance import require_finite

MIN_TAIL = 5
# Log-weights that differ by less are equal: those of an exact guide in float32 differ as much.
EQUAL = 1e-3
# Numbers at once in the fit, 40 MB.
NUMBERS = 5_000_000


class Smoothed(NamedTuple):
    """Importance weights, the largest replaced by quantiles of the fitted tail.

    Attributes:
        log_weight: Normalised to sum to one, ``(draws, obs)``, float64.
        khat: Shape of the tail, ``(obs,)``.
        degenerate: Whether an observation's weights are all the same, ``(obs,)``.
    """

    log_weight: Float[Tensor, "draws obs"]
    khat: Float[Tensor, " obs"]
    degenerate: Bool[Tensor, " obs"]


def smooth(log_weight: Float[Tensor, "draws obs"], tail: int | None = None) -> Smoothed:
    r"""Pareto-smoothed importance weights, all data at once.

    A generalised Pareto distribution is fitted to the largest :math:`M` weights of an observation,

    .. math::
        p(w) = \frac1\sigma \Big( 1 + k \frac{w - u}{\sigma} \Big)^{-1/k - 1}, \qquad w > u,
        \qquad M = \lceil \min(S / 5, 3 \sqrt S) \rceil

    and they are replaced by its quantiles, truncated at the largest weight. Weights with a tail
    of shape :math:`k` have moments up to order :math:`1/k`.

    ``khat`` is -inf where the weights are all the same, or where M or more draws share the
    largest weight: there is no tail. It is inf where fewer than 5 draws are above the cutoff,
    too few for a fit.

    Args:
        log_weight: log p(x, z) - log q(z | x), ``(draws, obs)``, up to a constant for each
            observation.
        tail: :math:`M`. ArviZ 1.x rounds it down; by default it is rounded up, as in ArviZ 0.23
            and the authors' own R package loo.

    Raises:
        DataError: A weight is not finite.
        SpecError: There are too few draws for a tail of 5.

    References:
        Vehtari, Simpson, Gelman, Yao and Gabry (2024), *Pareto Smoothed Importance Sampling*,
        arXiv:1507.02646; Zhang and Stephens (2009), *A New and Efficient Estimation Method for
        the Generalized Pareto Distribution*, Technometrics 51.
    """
    require_finite(log_weight)
    draws = len(log_weight)
    tail = _tail_length(draws) if tail is None else tail
    if not MIN_TAIL <= tail < draws:
        raise SpecError(
            f"{draws} draws have a tail of {tail}: at least 25 draws are needed for a tail of "
            f"{MIN_TAIL}, to which a distribution can be fitted"
        )
    log_weight = log_weight.double()
    relative = (log_weight - log_weight.max(0).values).T  # to the largest, which becomes 0
    degenerate = relative.min(-1).values > -EQUAL
    ordered, order = relative.sort(-1)
    smoothed = ordered.clone()
    # Weights smaller than the largest by a factor that overflows are no part of a tail.
    cutoff = ordered[:, -tail - 1].clamp(min=math.log(torch.finfo(torch.float64).tiny))
    above = (ordered > cutoff.unsqueeze(-1)).sum(-1)  # fewer than `tail` where weights are equal
    khat = torch.full_like(cutoff, torch.inf)
    khat[degenerate | (above == 0)] = -torch.inf
    for length in above[~degenerate].unique().tolist():
        if length >= MIN_TAIL:
            rows = ((above == length) & ~degenerate).nonzero().flatten()
            for part in rows.split(max(1, NUMBERS // (length * _candidates(length)))):
                tails = ordered[part, -length:]
                khat[part], smoothed[part, -length:] = _smooth_tails(tails, cutoff[part])
    result = torch.empty_like(smoothed).scatter_(-1, order, smoothed)
    return Smoothed(result.log_softmax(-1).T, khat, degenerate)


def pareto_k(log_weight: Float[Tensor, "draws obs"]) -> Float[Tensor, " obs"]:
    """Shape k of the tail of each observation's weights; see :func:`smooth`."""
    return smooth(log_weight).khat


def threshold(draws: int) -> float:
    r"""Largest shape k for which an estimate from so many draws is reliable.

    .. math::
        \min(1 - 1 / \log_{10} S, 0.7)

    References:
        Vehtari et al. (2024), arXiv:1507.02646.

    Example:
        >>> round(threshold(1000), 3), threshold(100_000)
        (0.667, 0.7)
    """
    return min(1 - 1 / math.log10(draws), 0.7)


def _tail_length(draws: int) -> int:
    return math.ceil(min(draws / 5, 3 * draws**0.5))


def _candidates(length: int) -> int:
    """Number of values of b over which the posterior mean is taken."""
    return 30 + math.isqrt(length)


def _smooth_tails(
    tails: Float[Tensor, "rows length"], cutoff: Float[Tensor, " rows"]
) -> tuple[Float[Tensor, " rows"], Float[Tensor, "rows length"]]:
    """Fitted shapes, and tails (ascending log-weights above a cutoff) replaced by quantiles."""
    # In units of the cutoff: the shape has no unit, and small differences keep their digits.
    khat, scale = _fit((tails - cutoff.unsqueeze(-1)).expm1())
    length = tails.shape[-1]
    p = (torch.arange(length, dtype=tails.dtype, device=tails.device) + 0.5) / length
    k, log_survival = khat.unsqueeze(-1), (-p).log1p()
    quantile = torch.where(k == 0, -log_survival, (-k * log_survival).expm1() / k)
    smoothed = cutoff.unsqueeze(-1) + (scale.unsqueeze(-1) * quantile).log1p()
    smoothed = torch.where(smoothed.isfinite(), smoothed, tails)
    return khat.nan_to_num(nan=torch.inf), smoothed.minimum(tails[:, -1:])


def _fit(
    excess: Float[Tensor, "rows length"],
) -> tuple[Float[Tensor, " rows"], Float[Tensor, " rows"]]:
    r"""Shape and scale of a generalised Pareto distribution, for rows in ascending order.

    With :math:`b = -k / \sigma` the likelihood has its maximum over k at
    :math:`k(b) = \overline{\log(1 - b y)}`, and b has the posterior mean over a grid. The shape
    is drawn towards 1/2 with the weight of 10 observations.
    """
    length = excess.shape[-1]
    count = _candidates(length)
    grid = torch.arange(1, count + 1, dtype=excess.dtype, device=excess.device)
    quartile = excess[:, math.floor(length / 4 + 0.5) - 1]
    b = (1 - (count / (grid - 0.5)).sqrt()) / (3 * quartile.unsqueeze(-1)) + 1 / excess[:, -1:]
    k = (-b.unsqueeze(-1) * excess.unsqueeze(-2)).log1p().mean(-1)
    weight = (length * ((-b / k).log() - k - 1)).softmax(-1)
    weight = weight.where(weight >= 10 * torch.finfo(weight.dtype).eps, 0.0)
    b_mean = (b * weight).sum(-1) / weight.sum(-1)
    k_mean = (-b_mean.unsqueeze(-1) * excess).log1p().mean(-1)
    return (length * k_mean + 5) / (length + 10), -k_mean / b_mean
