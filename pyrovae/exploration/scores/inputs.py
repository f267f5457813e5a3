"""Inputs of the scores."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from pyrovae.data import Batch, Dataset
from pyrovae.errors import SpecError
from pyrovae.evaluation.pointwise import Evaluation
from pyrovae.programs.autoencoder import Autoencoder


@dataclass(frozen=True, eq=False)
class ScoreInputs:
    """Data, and the quantities of the model from which scores are computed.

    Attributes:
        autoencoder: Model and guide.
        batch: The data as the model sees them, on its device.
        judged: Bound and log p(x) of each observation.
        train: Training data; give the range of intensities.
        train_log_prob: log p(x) of some of these, ``(train,)``.
        steps: Optimiser steps to find the best q for an observation.
        progress: Show progress bars on stderr.
    """

    autoencoder: Autoencoder
    batch: Batch
    judged: Evaluation
    train: Dataset
    train_log_prob: Tensor
    steps: int
    progress: bool = False

    def require_density(self) -> None:
        """Refuse a guide that is a point.

        Raises:
            SpecError: Says what to choose.
        """
        if self.judged.point:
            raise SpecError(
                f"the guide, {self.autoencoder.formulas().guide}, is a point and has no density, "
                "so there is neither a bound nor an importance-weighted log p(x): choose another "
                "inference.guide.kind, such as 'diagonal'"
            )
