"""Reports of a trial to Optuna, epoch by epoch, which may end it early."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pyrovae.training.loop import Callback, Training
from pyrovae.training.records import Record

# Fraction of its epochs after which a trial may be pruned.
SETTLED = 0.2


class Watch(Callback):
    """Report the objective of a trial after each epoch, and end the trial if it is pruned.

    A trial is pruned, after a fifth of its epochs, if its best value so far is worse than the
    median of those that the finished trials had at this epoch, of which there are five at least.

    Args:
        trial: Optuna's trial.
        field: Field of the validation record.
        prune: Whether it may be pruned.
    """

    def __init__(self, trial: Any, field: str, *, prune: bool) -> None:
        self.trial, self.field, self.prune = trial, field, prune

    def on_start(self, training: Training) -> None:
        """Decide again about an epoch after which the process was killed."""
        if training.step:
            self._decide(training)

    def on_epoch_end(self, training: Training, records: Sequence[Record]) -> None:
        """Report the epoch."""
        value = getattr(records[1], self.field)
        if math.isfinite(value):
            self.trial.report(value, training.epoch)
            self._decide(training)

    def _decide(self, training: Training) -> None:
        early = training.epoch < SETTLED * training.budget.epochs
        if self.prune and not early and not training.finished and self.trial.should_prune():
            training.satisfied = True
