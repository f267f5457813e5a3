"""Comparison of weights on the same observations, part by part."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from pyrovae.data import Dataset
from pyrovae.evaluation.bound import evaluate
from pyrovae.objectives import Objective
from pyrovae.programs.autoencoder import Autoencoder

DATA, PARTS = 1000, 20
STANDARD_ERRORS = 2.0
# In nats; a smaller difference is negligible, however significant it is.
LEAST = 0.1


class Judgement(NamedTuple):
    """Loss and ELBO of weights, in nats per observation, on equally large parts of the data.

    Attributes:
        elbo: ELBO of each part, at β = 1.
        loss: Loss of each part, with the settings of the last step.
    """

    elbo: list[float]
    loss: list[float]

    @property
    def mean_elbo(self) -> float:
        """Mean ELBO over all parts."""
        return math.fsum(self.elbo) / len(self.elbo)

    @property
    def mean_loss(self) -> float:
        """Mean loss over all parts."""
        return math.fsum(self.loss) / len(self.loss)

    def worse_than(self, other: Judgement) -> bool:
        """True if these weights are worse beyond noise, by the loss *and* by the ELBO.

        By both, since not every objective maximises the ELBO at β = 1, and with early stopping
        the loss may not have been optimised with the settings of the last step.
        """
        negated = [-value for value in self.elbo], [-value for value in other.elbo]
        return _greater(self.loss, other.loss) and _greater(*negated)


def judged(
    autoencoder: Autoencoder, data: Dataset, objective: Objective, beta: float
) -> Judgement:
    """Judge the current weights on the first 1000 observations; reproducible.

    Args:
        autoencoder: Model and guide.
        data: A split, as the model sees it.
        objective: Objective of the loss.
        beta: β of the last step.
    """
    rows = data.rows[:DATA]
    parts = min(PARTS, len(rows))
    chunks = rows[: len(rows) // parts * parts].chunk(parts)
    found = [
        evaluate(autoencoder, replace(data, rows=chunk), objective, beta=beta) for chunk in chunks
    ]
    return Judgement([s.elbo for s in found], [s.loss for s in found])


def _greater(first: list[float], second: list[float]) -> bool:
    """True if the mean is greater by two standard errors of the difference, or is doubled.

    Non-finite numbers count as greater than all finite ones.
    """
    a, b = (torch.tensor(values, dtype=torch.float64) for values in (first, second))
    if not a.isfinite().all():
        return bool(b.isfinite().all())
    difference = a - b
    enough = torch.minimum(_noise(difference), b.mean().abs()).clamp(min=LEAST)
    return bool(difference.mean() > enough)


def _noise(difference: Tensor) -> Tensor:
    if len(difference) < 2:
        return difference.new_tensor(torch.inf)
    return STANDARD_ERRORS * difference.std() / len(difference) ** 0.5
