"""Choice of weights by the validation ELBO, and early stopping."""

from __future__ import annotations

from typing import Literal, NamedTuple

from torch import Tensor

from pyrovae.specs import InferenceSpec


class Best(NamedTuple):
    """The epoch with the highest validation ELBO so far."""

    elbo: float
    epoch: int
    weights: dict[str, Tensor]


class Kept(NamedTuple):
    """The weights that a finished training keeps.

    Attributes:
        which: "best" by validation ELBO, or "last".
        epoch: Their epoch.
        elbo: Their validation ELBO at β = 1, in nats per observation.
    """

    which: Literal["best", "last"]
    epoch: int
    elbo: float


def is_better(elbo: float, best: float, spec: InferenceSpec) -> bool:
    """True if a validation ELBO is the best so far, by ``min_delta`` at least."""
    stop = spec.early_stopping
    return elbo > best + (stop.min_delta if stop else 0.0)


def out_of_patience(epoch: int, best: int, spec: InferenceSpec) -> bool:
    """True if ``patience`` epochs have passed since the best one."""
    stop = spec.early_stopping
    return stop is not None and epoch - best >= stop.patience
