"""Moments of distributions over the grey levels 0, 1, ..., N, as sums over all of them."""

from __future__ import annotations

import torch
from torch import Tensor


def mean_level(probs: Tensor) -> Tensor:
    """Mean ``(*batch,)`` from the probability of each level, ``(*batch, N + 1)``."""
    return (probs * _levels(probs)).sum(-1)


def variance_of_level(probs: Tensor) -> Tensor:
    """Variance ``(*batch,)`` from the probability of each level, ``(*batch, N + 1)``."""
    distance = _levels(probs) - mean_level(probs).unsqueeze(-1)
    return (probs * distance.square()).sum(-1)


def _levels(probs: Tensor) -> Tensor:
    return torch.arange(probs.shape[-1], dtype=probs.dtype, device=probs.device)
