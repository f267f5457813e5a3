"""Means at which a decoder can start: inside the support, where its outputs are finite."""

from __future__ import annotations

from torch import Tensor

SMALLEST = 1e-3


def inside_unit(mean: Tensor) -> Tensor:
    """Means in [0, 1] clipped to [0.001, 0.999] (Burda et al. 2016, arXiv:1509.00519)."""
    return mean.clamp(SMALLEST, 1 - SMALLEST)


def above_zero(mean: Tensor) -> Tensor:
    """Mean counts of at least one in a thousand data."""
    return mean.clamp(min=SMALLEST)
