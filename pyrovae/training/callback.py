"""Those who are told how training goes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pyrovae.training.fit_warnings import FitWarning
from pyrovae.training.records import Record

if TYPE_CHECKING:
    from pyrovae.training.loop import Training


class Observer:
    """Somebody who is told how training goes. Each method does nothing unless overridden."""

    def begun(self, training: Training) -> None:
        """Before the first step, also after resuming."""

    def stepped(self, training: Training) -> None:
        """After each optimiser step."""

    def epoch_ended(self, training: Training, records: Sequence[Record]) -> None:
        """After an epoch: the training and the validation record."""

    def warned(self, training: Training, warning: FitWarning) -> None:
        """After an epoch that shows that the fit goes badly."""

    def ended(self, training: Training) -> None:
        """After the last step, or the one in which training was interrupted."""
