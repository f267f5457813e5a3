"""Steps with checks that locate the first value that is not finite."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from pyrovae.compute.randomness import set_stream_state, stream_state
from pyrovae.errors import DivergenceError
from pyrovae.evaluation.latent_means import codes
from pyrovae.evaluation.metrics import LOSS
from pyrovae.objectives.schedules import Budget
from pyrovae.training.divergence import find_divergence
from pyrovae.training.step import Step

Divergence = Callable[[str, str], DivergenceError]
"""The error about a kind of value that is not finite, and what is to blame for it."""


def divergence_at(step: int, budget: Budget) -> Divergence:
    """The error, for a step by its number in the training, from one on."""
    epoch = 1 + (step - 1) // budget.steps_per_epoch
    return lambda what, culprit: DivergenceError(
        f"epoch {epoch}, step {step}: the {what} is not finite; {culprit}"
    )


def take_watched(step: Step, index: Tensor, divergence: Divergence) -> None:
    """Take a step as programs, with checks for non-finite values.

    Args:
        step: The step.
        index: Indices of its observations.
        divergence: The error.

    Raises:
        DivergenceError: The loss or a gradient is not finite, in this process or another one.
    """
    own = step.processes.share(index)
    total, *gradients = step.processes.together(
        lambda: step.accumulated(own, lambda part: _watched(step, part, divergence))
    )
    step.finish(total, gradients, len(own), len(index))


def _watched(step: Step, index: Tensor, divergence: Divergence) -> list[Tensor]:
    """Sums and gradients of observations, which are finite."""
    random = stream_state(step.device)
    batch, weights = step.batch(index)
    total, *gradients = step.differentiate(*step.inputs(batch, weights))
    loss = total[LOSS]
    if not all(number.isfinite().all() for number in (loss, *gradients)):
        for parameter, gradient in zip(step.parameters, gradients, strict=True):
            parameter.grad = gradient
        set_stream_state(random, step.device)
        what = "gradient" if loss.isfinite() else "loss"
        raise divergence(what, find_divergence(step.autoencoder, batch))
    return [total, *gradients]


def finite_codes(step: Step, divergence: Divergence) -> Tensor:
    """Means of q(z | x) of the training data, ``(data, dims)``.

    Raises:
        DivergenceError: One is not finite.
    """
    z = codes(step.autoencoder, step.data)
    if z.isfinite().all():
        return z
    first = (~z.isfinite().all(1)).nonzero()[:1, 0]
    batch = step.data.batch(first).to(step.device)
    raise divergence("latent of an observation", find_divergence(step.autoencoder, batch))
