"""Early stopping on the validation ELBO."""

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
    """True if a validation ELBO is the best so far, by ``min_delta`` at least."""
    stop = spec.early_stopping
    return elbo > best + (stop.min_delta if stop else 0.0)


def out_of_patience(epoch: int, best: int, spec: InferenceSpec) -> bool:
    """True if ``patience`` epochs have passed since the best one."""
    stop = spec.early_stopping
    return stop is not None and epoch - best >= stop.patience
