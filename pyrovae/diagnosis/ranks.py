"""Ranks and z-scores of simulated latents, and the errors of their moments."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def uniform_rank(values: Tensor) -> Tensor:
    """Rank of the first among all, ties broken at random, made continuous: in (0, 1)."""
    first, rest = values[0], values[1:]
    below, ties = (rest < first).sum(0), (rest == first).sum(0)
    place = torch.rand(first.shape, dtype=torch.float64, device=first.device)
    return (below + place * (ties + 1)) / len(values)


def mean_error(z: NDArray[Any]) -> NDArray[Any]:
    """Standard errors of means over simulations."""
    return z.std(0, ddof=1) / len(z) ** 0.5


def variance_error(z: NDArray[Any]) -> NDArray[Any]:
    """Standard errors of variances over simulations.

    At least those of normals, as samples that lack large values underestimate the error.
    """
    return np.maximum(((z - z.mean(0)) ** 2).std(0, ddof=1), 2**0.5) / len(z) ** 0.5


def span(values: NDArray[Any], format_: str) -> str:
    """The smallest and the largest value in words."""
    low, high = format(values.min(), format_), format(values.max(), format_)
    return low if low == high else f"{low} to {high}"
