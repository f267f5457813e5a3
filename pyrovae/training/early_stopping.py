"""Choice of weights by the validation ELBO, and early stopping."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from torch import Tensor

from pyrovae.programs.autoencoder import Autoencoder
from pyrovae.specs import InferenceSpec
from pyrovae.training.weight_comparison import Judgement


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


def choose(
    autoencoder: Autoencoder,
    best: Best,
    last: Kept,
    spec: InferenceSpec,
    judge: Callable[[], Judgement],
) -> tuple[Kept, Judgement]:
    """Load the weights that a training keeps into the autoencoder, and judge them.

    Args:
        autoencoder: Model and guide, with the last weights.
        best: The epoch with the highest validation ELBO.
        last: The last epoch.
        spec: Specification of the inference.
        judge: Judges the autoencoder's weights.
    """
    kept = Kept("best", best.epoch, best.elbo)
    if spec.early_stopping is not None:
        autoencoder.load_state_dict(best.weights)
        return kept, judge()
    judged_last = judge()
    if not 0 < best.epoch < last.epoch:
        return last, judged_last
    weights = {name: value.clone() for name, value in autoencoder.state_dict().items()}
    autoencoder.load_state_dict(best.weights)
    judged_best = judge()
    if not judged_last.mean_loss < judged_best.mean_loss:
        return kept, judged_best
    autoencoder.load_state_dict(weights)
    return last, judged_last
