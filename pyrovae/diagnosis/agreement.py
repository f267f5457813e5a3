"""Agreement of the guide with the posterior, and training until there is one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch

from pyrovae.compute.modes import evaluating
from pyrovae.data import Batch, Dataset
from pyrovae.diagnosis.calibration import SIMULATIONS, check_calibration
from pyrovae.evaluation.batches import observations
from pyrovae.evaluation.divergence import Divergence, divergence
from pyrovae.evaluation.local import LocalPosterior
from pyrovae.programs.autoencoder import Autoencoder
from pyrovae.training.loop import Callback, Training
from pyrovae.training.records import Record

# How often in the course of training the goal is looked at.
LOOKS = 10


class Agreement(NamedTuple):
    """Agreement of the guide with the posterior on data from the model.

    Attributes:
        divergence: KL(p, q) + KL(q, p).
        coverage: Coverage of the central 90 % interval of each active latent, by name.
        calibrated: Whether the calibration is in order.
    """

    divergence: Divergence
    coverage: dict[str, float]
    calibrated: bool

    def reaches(self, goal: float | Literal["calibrated"]) -> bool:
        """True if it is calibrated, or the divergence at most so many nats."""
        return self.calibrated if goal == "calibrated" else self.divergence.nats <= goal


def agreement(autoencoder: Autoencoder, like: Batch) -> Agreement:
    """Simulate data from the model, and compare the guide with the latents that they came from.

    Args:
        autoencoder: Model and guide.
        like: Data that give the shape of the simulated ones, and what the model does not draw.

    Raises:
        SpecError: See :func:`check_calibration` and :func:`divergence`.
    """
    found = check_calibration(autoencoder, like, SIMULATIONS)
    rows = zip(found.names, found.coverage.tolist(), found.active, strict=True)
    return Agreement(
        divergence(autoencoder, like, SIMULATIONS),
        {name: coverage for name, coverage, active in rows if active},
        found.verdict().grade == "ok",
    )


def is_point(autoencoder: Autoencoder, like: Batch) -> bool:
    """True if the guide is a point, which agrees with no posterior."""
    with evaluating(autoencoder, like.device):
        return LocalPosterior(autoencoder, like[:2]).point


class Until(Callback):
    """Callback that ends a training once the guide agrees with the posterior.

    It looks at data drawn from the model, shaped like training data: no test data are touched.

    Args:
        goal: "calibrated", or the largest divergence in nats.
    """

    def __init__(self, goal: float | Literal["calibrated"]) -> None:
        self.goal: float | Literal["calibrated"] = goal

    def on_epoch_end(self, training: Training, records: Sequence[Record]) -> None:
        """End the training if the goal is reached; looked at after each tenth of the budget."""
        every = -(-training.budget.epochs // LOOKS)
        if training.epoch % every == 0:
            found = agreement(
                training.autoencoder, likeness(training.splits.train, training.device)
            )
            training.satisfied = found.reaches(self.goal)


def likeness(train: Dataset, device: torch.device) -> Batch:
    """Training data that give simulated data their shape."""
    return observations(train, torch.arange(min(len(train), SIMULATIONS))).to(device)
