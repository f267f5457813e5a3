"""Schedules of β and of the learning rate, as functions of the step, without state.

Steps are counted from 0: the value at ``step`` is the one applied in the step that follows
``step`` finished ones.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple, assert_never

import torch
from torch.optim.lr_scheduler import LRScheduler

from pyrovae.errors import SpecError, reason
from pyrovae.specs.inference import (
    BetaSpec,
    ConstantBetaSpec,
    ConstantRateSpec,
    CosineRateSpec,
    CyclicalBetaSpec,
    LinearBetaSpec,
    MultiStepRateSpec,
    OwnRateSpec,
    RateSpec,
)
from pyrovae.specs.own import own_part


class Budget(NamedTuple):
    """Length of training.

    Attributes:
        epochs: Passes over the training data.
        steps_per_epoch: Batches in a pass, the last one possibly short.
    """

    epochs: int
    steps_per_epoch: int

    @property
    def steps(self) -> int:
        """Optimiser steps in all."""
        return self.epochs * self.steps_per_epoch


def beta_at(spec: BetaSpec, step: int, budget: Budget) -> float:
    """Weight of the KL after ``step`` finished steps.

    Example:
        >>> warmup = LinearBetaSpec(value=4, warmup_epochs=2)
        >>> [beta_at(warmup, step, Budget(epochs=10, steps_per_epoch=2)) for step in range(6)]
        [0.0, 1.0, 2.0, 3.0, 4.0, 4.0]

    References:
        Higgins et al. (2017), *beta-VAE*, for a constant; Bowman et al. (2016), *Generating
        Sentences from a Continuous Space*, arXiv:1511.06349, for the warm-up; Fu et al. (2019),
        *Cyclical Annealing Schedule*, arXiv:1903.10145.
    """
    match spec:
        case ConstantBetaSpec():
            return spec.value
        case LinearBetaSpec():
            progress = min(1.0, step / (spec.warmup_epochs * budget.steps_per_epoch))
            return spec.start + progress * (spec.value - spec.start)
        case CyclicalBetaSpec():
            position = math.modf(step * spec.cycles / budget.steps)[0]
            return spec.value * min(1.0, position / spec.rise)
        case _:
            assert_never(spec)


def rate_at(spec: RateSpec, step: int, budget: Budget) -> float:
    """Factor of the learning rate after ``step`` finished steps.

    Example:
        >>> halving = MultiStepRateSpec(milestones=(1, 2), factor=0.5)
        >>> [rate_at(halving, step, Budget(epochs=3, steps_per_epoch=2)) for step in range(6)]
        [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]

    References:
        Loshchilov and Hutter (2017), *SGDR*, arXiv:1608.03983, for the cosine.
    """
    match spec:
        case ConstantRateSpec():
            return 1.0
        case CosineRateSpec():
            wave = (1 + math.cos(math.pi * step / budget.steps)) / 2
            return spec.final + (1 - spec.final) * wave
        case MultiStepRateSpec():
            passed = sum(step >= m * budget.steps_per_epoch for m in spec.milestones)
            return spec.factor**passed
        case OwnRateSpec():
            rates = own_rates(spec, budget)  # pyright: ignore[reportArgumentType] # it is frozen
            done = step if spec.per == "step" else step // budget.steps_per_epoch
            return rates[min(done, len(rates) - 1)]
        case _:
            assert_never(spec)


@functools.lru_cache(maxsize=8)
def own_rates(spec: OwnRateSpec, budget: Budget) -> tuple[float, ...]:
    """Factors of the learning rate in all epochs, or steps, of a schedule that torch steps.

    Computed at once, they are a function of the step, as others are.

    Raises:
        SpecError: There is no such class, or it is no schedule, or fails.
    """
    where = "inference.learning_rate_schedule"
    count, sizes = budget.steps if spec.per == "step" else budget.epochs, budget._asdict()
    optimiser = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    schedule = own_part(spec, where, LRScheduler, optimizer=optimiser, **sizes)
    found = [optimiser.param_groups[0]["lr"]]
    try:
        for _ in range(1, count):
            optimiser.step()
            schedule.step()
            found.append(optimiser.param_groups[0]["lr"])
    except Exception as error:  # as of one that waits for a metric
        raise SpecError(f"{where}.kind = '{spec.kind}': {reason(error)}") from error
    return tuple(map(float, found))


def describe_beta(spec: BetaSpec) -> str:
    """The schedule of β in words."""
    match spec:
        case ConstantBetaSpec():
            return f"{spec.value:g}"
        case LinearBetaSpec():
            return f"from {spec.start:g} to {spec.value:g} over {spec.warmup_epochs:g} epochs"
        case CyclicalBetaSpec():
            return f"{spec.cycles} times from 0 to {spec.value:g}"
        case _:
            assert_never(spec)
