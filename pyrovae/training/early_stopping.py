"""The best epoch so far, and when to wait no longer for a better one."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from pyrovae.specs import InferenceSpec


class Best(NamedTuple):
    """The epoch with the highest validation ELBO so far."""

    elbo: float
    epoch: int
    weights: dict[str, Tensor]


def is_better(elbo: float, best: float, spec: InferenceSpec) -> bool:
    """Whether a validation ELBO is the best so far, by as much as early stopping asks for."""
    stop = spec.early_stopping
    return elbo > best + (stop.min_delta if stop else 0.0)


def out_of_patience(epoch: int, best: int, spec: InferenceSpec) -> bool:
    """Whether early stopping has waited long enough since the best epoch."""
    stop = spec.early_stopping
    return stop is not None and epoch - best >= stop.patience
