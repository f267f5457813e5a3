r"""Resampling of the training data by the inverse density of their latents.

.. math::
    p(x) = \frac{u}{n} + (1 - u) \frac{r(x)}{\sum_{x'} r(x')}, \qquad
    r(x) = \frac{1}{\hat q(z(x)) + \alpha}

where z(x) is the mean of q(z | x), :math:`\hat q` a density of such means in units of its own mean
over the data, and u the share of the draws that are uniform over the data: 0 in the paper, but
then data in dense regions are hardly ever drawn. Data with rare latents are drawn more often,
without labels of groups.

References:
    Amini, Soleimany, Schwarting, Bhatia and Rus (2019), *Uncovering and Mitigating Algorithmic
    Bias through Learned Latent Structure*, AAAI/ACM Conference on AI, Ethics, and Society,
    doi:10.1145/3306618.3314243; Hesterberg (1995), *Weighted Average Importance Sampling and
    Defensive Mixture Distributions*, Technometrics 37, for u: it bounds the weights
    :math:`1 / (n p)` by 1 / u.
"""

from __future__ import annotations

import math
from typing import assert_never

import torch
from torch import Tensor

from pyrovae.evaluation.latent_means import ACTIVE_VARIANCE
from pyrovae.specs.resampling import (
    HistogramResamplingSpec,
    KernelResamplingSpec,
    ResamplingSpec,
)

LANDMARKS = 2000
"""Largest number of latents in the kernel density."""

CHUNK = 1000
"""Number of latents compared with all landmarks at once."""


def drawing_probabilities(codes: Tensor, spec: ResamplingSpec) -> Tensor:
    """Drawing probability of each observation, float64 ``(data,)``, from its latents.

    Dimensions that do not vary with the data (a variance below 0.01, as in
    :func:`pyrovae.evaluation.latent_means.active_dimensions`) are left out, since rare values of
    noise mean nothing. If no dimension is left, all probabilities are equal.

    Args:
        codes: Means of q(z | x), ``(data, dims)``, finite, on the CPU.
        spec: Kind of the density, α and u.
    """
    codes = codes.double()
    active = codes[:, codes.var(0, correction=0) > ACTIVE_VARIANCE]
    if active.shape[1] == 0:
        return torch.full((len(codes),), 1 / len(codes), dtype=torch.float64)
    match spec:
        case HistogramResamplingSpec():
            rarity = histogram_probabilities(active, spec.bins, spec.alpha)
        case KernelResamplingSpec():
            rarity = kernel_probabilities(active, spec.bandwidth, spec.alpha)
        case _:
            assert_never(spec)
    return spec.uniform / len(codes) + (1 - spec.uniform) * rarity


def histogram_probabilities(codes: Tensor, bins: int, alpha: float) -> Tensor:
    r"""Drawing probabilities by the rarest latent dimension, ``(data,)``.

    .. math::
        p(x) \propto \max_d \frac{p_d(x)}{\sum_{x'} p_d(x')}, \qquad
        p_d(x) = \frac{1}{\hat q_d(z_d(x)) + \alpha}

    where :math:`\hat q_d` is a histogram between the smallest and the largest value. The paper
    has a product over dimensions. We take the maximum, as its authors do in their course: a
    product over many dimensions concentrates on a single observation.

    Args:
        codes: Latents ``(data, dims)``; no dimension may be constant.
        bins: Number of bins of each histogram, equally wide.
        alpha: α, in units of the mean of :math:`\hat q_d` over the data.

    References:
        Amini et al. (2019), as above, section 3.3; *MIT 6.S191: Introduction to Deep Learning*,
        lab 2, https://github.com/MITDeepLearning/introtodeeplearning.
    """
    low, high = codes.amin(0), codes.amax(0)
    bin_of = ((codes - low) / (high - low) * bins).long().clamp(max=bins - 1)
    counts = torch.stack([column.bincount(minlength=bins)[column] for column in bin_of.T], dim=1)
    each = _inverse(counts.double(), alpha)
    return _normalised(each.amax(1))


def kernel_probabilities(codes: Tensor, bandwidth: float, alpha: float) -> Tensor:
    r"""Drawing probabilities by a kernel density of the latents, ``(data,)``.

    .. math::
        \hat q(z_i) \propto \sum_{j \ne i} \exp -\frac{\lVert z_i - z_j \rVert^2}{2 h^2 s^2},
        \qquad s^2 = \frac1D \sum_d \operatorname{Var} z_d

    A group of data may have a region of its own in latent space although none of its dimensions
    alone is unusual; the histograms of :func:`histogram_probabilities` cannot see it.

    Args:
        codes: Latents ``(data, dims)``; of more than 2000, the sum is over 2000 that are evenly
            spread.
        bandwidth: :math:`h`, in units of the latents' scale s.
        alpha: α, in units of the mean of :math:`\hat q` over the data.
    """
    count = len(codes)
    scale = bandwidth * codes.var(0, correction=0).mean().sqrt()
    z = (codes - codes.mean(0)) / scale
    landmarks = torch.arange(min(count, LANDMARKS)) * count // min(count, LANDMARKS)
    log_density = torch.cat(
        [_log_kernel_sum(z, rows, landmarks) for rows in torch.arange(count).split(CHUNK)]
    )
    return _normalised(_inverse((log_density - log_density.max()).exp(), alpha))


def importance(probabilities: Tensor) -> Tensor:
    r"""Importance weight of each observation when drawn, ``(data,)``: :math:`1 / (n p)`.

    The weighted mean of any function over draws has as its expectation the mean over the data.
    """
    return 1 / (len(probabilities) * probabilities)


def expected_shares(probabilities: Tensor, labels: Tensor, classes: Tensor) -> Tensor:
    """Share of each class among the draws, ``(classes,)``."""
    return torch.stack([probabilities[labels == label].sum() for label in classes])


def _log_kernel_sum(z: Tensor, rows: Tensor, landmarks: Tensor) -> Tensor:
    """Log kernel sum over landmarks other than the observation itself, ``(rows,)``."""
    squared = torch.cdist(z[rows], z[landmarks]).square()
    squared.masked_fill_(rows[:, None] == landmarks, math.inf)
    return (-squared / 2).logsumexp(1)


def _inverse(density: Tensor, alpha: float) -> Tensor:
    """1 / (density + α), the density in units of its mean over data, each column's sum one."""
    return _normalised(1 / (density / density.mean(0) + alpha))


def _normalised(weights: Tensor) -> Tensor:
    return weights / weights.sum(0)
