"""Unconstrained parameterisation of positive scales."""

from __future__ import annotations

import math

import torch
from torch import Tensor

# A learned scale never gets below this. A guide (β = 0 narrows it without end) or a mixture
# component may become narrow, but never a point, where its density would be infinite.
SCALE_FLOOR = 1e-5


def positive(raw: Tensor) -> Tensor:
    """The scale softplus(raw) + :data:`SCALE_FLOOR`, for any real ``raw``."""
    return torch.nn.functional.softplus(raw) + SCALE_FLOOR


def raw_positive(value: Tensor) -> Tensor:
    """The numbers that :func:`positive` turns into ``value``, all above :data:`SCALE_FLOOR`."""
    above = value - SCALE_FLOOR
    return above + torch.log(-torch.expm1(-above))


def raw_scale(scale: float) -> float:
    """The number that :func:`positive` turns into ``scale``.

    Example:
        >>> round(positive(torch.tensor(raw_scale(0.1))).item(), 6)
        0.1

    Raises:
        ValueError: The scale is not above :data:`SCALE_FLOOR`.
    """
    if not scale > SCALE_FLOOR:
        raise ValueError(f"scale = {scale}: a scale must be above {SCALE_FLOOR}")
    above = scale - SCALE_FLOOR
    return above + math.log(-math.expm1(-above))
