"""Rising factorials, by which densities of overdispersed counts differ from simpler ones."""

from __future__ import annotations

import math

import torch
from torch import Tensor

LARGE = 1e4  # sizes from here on: the first term of Stirling's series is enough


def log_relative_rising(x: Tensor, size: Tensor, log_size: Tensor) -> Tensor:
    r"""Log of :math:`\Gamma(\theta + x) / (\Gamma(\theta) \, \theta^x)`, zero at infinity.

    Stirling's series where the log-gammas are so large that even float64 loses their difference.

    Args:
        x: Whole numbers from 0 on, float64.
        size: :math:`\theta`, which may have been rounded to zero.
        log_size: :math:`\log \theta`.
    """
    small, log_small = size.clamp(max=LARGE), log_size.clamp(max=math.log(LARGE))
    # Γ(1 + θ) = θ Γ(θ), and all is finite at θ = 0.
    steps = torch.lgamma(small + x.clamp(min=1)) - torch.lgamma(small + 1)
    exact = steps + ((x > 0).to(x) - x) * log_small
    large = size.clamp(min=LARGE)
    total = large + x
    correction = x / (12 * large * total)
    series = (total - 0.5) * torch.log1p(x / large) - x - correction
    return torch.where(size < LARGE, exact, series)
