"""Detection of posterior collapse while training."""

from __future__ import annotations

import math
from typing import Any

import torch

from pyrovae.compute.modes import evaluating
from pyrovae.data import Dataset
from pyrovae.evaluation.batches import observations
from pyrovae.evaluation.information import mutual_information
from pyrovae.evaluation.latent_means import ACTIVE_VARIANCE, codes
from pyrovae.evaluation.local import LocalPosterior
from pyrovae.evaluation.metrics import BoundSummary
from pyrovae.objectives.schedules import Budget
from pyrovae.programs.autoencoder import Autoencoder

# Var E[z_d | x] <= E[z_d | x]² <= 2 KL under a standard normal prior, so that a dimension below
# this is inactive by the rule of Burda et al. (2016) as well.
NATS_PER_DIM = ACTIVE_VARIANCE / 2
# Many dimensions, each of negligible information, may together have some.
MOST_NATS = 0.1
# Smallest KL of a guide whose family does not contain the prior: 0.048 nats in each dimension of
# a normal under a Laplace prior, 0.051 of a von Mises-Fisher in three. Untrained guides have more.
FLOOR_PER_DIM = 0.06
# Each of these latents is scored under each of their observations; fewer leave only noise.
DATA, MIN_DATA = 64, 20
# A plateau from which a fit escapes lasts a few hundred steps, if the learning rate is sensible.
STEPS, SHARE, MIN_EPOCHS = 1000, 0.2, 5


class CollapseWatch:
    """Counter of consecutive epochs without information in the latents.

    The posterior has collapsed if its information was negligible for ``window`` epochs, unless
    the KL kept growing, as it does in a fit that leaves a plateau. The window is a fifth of the
    budget or 1000 steps, whichever is shorter, and at least five epochs.

    Args:
        budget: Length of the training.

    Attributes:
        nats: Information in the last epochs, as many as the longest window has; empty if that of
            the last epoch was not negligible.
    """

    def __init__(self, budget: Budget) -> None:
        longest = STEPS / budget.steps_per_epoch
        self.window = max(MIN_EPOCHS, math.ceil(min(SHARE * budget.epochs, longest)))
        self.longest = max(MIN_EPOCHS, math.ceil(longest))  # a run may go on to more epochs
        self.nats: list[float] = []

    @property
    def collapsed(self) -> bool:
        """True if the epochs so far show a collapse."""
        return len(self.recent) == self.window and self.recent[-1] <= 2 * self.recent[0]

    @property
    def recent(self) -> list[float]:
        """Those of the last ``window`` epochs."""
        return self.nats[-self.window :]

    def see(self, nats: float | None) -> None:
        """Take in an epoch's :func:`silent_nats`."""
        self.nats = [] if nats is None else [*self.nats, abs(nats)][-self.longest :]


def silent_nats(autoencoder: Autoencoder, data: Dataset, summary: BoundSummary) -> float | None:
    r"""Information of a latent about its observation, in nats, if negligible; else None.

    The information is bounded by the KL from the prior,

    .. math::
        I(x; z) = \mathbb{E}_x \operatorname{KL}(q(z \mid x), q(z))
        \le \mathbb{E}_x \operatorname{KL}(q(z \mid x), p(z)),

    and negligible if that is at most 0.005 nats in each latent dimension. A guide whose family
    does not contain the prior has a positive KL even if it does not depend on x: up to 0.06 nats
    for each dimension, :math:`I(x; z)` itself is estimated. (Not above that: a guide that has not
    learned yet has no information either, and has not collapsed.) For a guide that is a point,
    the information is negligible if the latent is the same for all observations.

    Args:
        autoencoder: Model and guide.
        data: The split.
        summary: Summary of the split.

    References:
        Hoffman and Johnson (2016), *ELBO surgery*; Poole et al. (2019), arXiv:1905.06922.
    """
    few = data.first(DATA)
    if "point" in summary.kl_kind.values():
        z = codes(autoencoder, few)
        return 0.0 if torch.allclose(z, z[:1], rtol=1e-4, atol=1e-6) else None
    if summary.kl_per_dim is not None:
        dims = len(summary.kl_per_dim)
        if max(summary.kl_per_dim) <= NATS_PER_DIM:
            return summary.kl
    else:
        dims = codes(autoencoder, data.first(1)).shape[1]
        if summary.kl <= _next_to_none(dims):
            return summary.kl
    if len(few) < MIN_DATA or not summary.kl <= FLOOR_PER_DIM * dims:
        return None
    information = _information(autoencoder, few)
    return information if abs(information) <= _next_to_none(dims) else None


def settled_from(settings: list[Any]) -> int:
    """First epoch from which on the settings of the objective are constant.

    Args:
        settings: Settings of the last step of each epoch.

    Example:
        >>> settled_from([0.0, 0.5, 1.0, 1.0])
        3
    """
    changing = [epoch for epoch, each in enumerate(settings, 1) if each != settings[-1]]
    return max(changing, default=0) + 1


def _next_to_none(dims: int) -> float:
    return min(MOST_NATS, NATS_PER_DIM * dims)


def _information(autoencoder: Autoencoder, data: Dataset) -> float:
    """An estimate of I(x; z) in nats, or NaN where the programs do not permit one."""
    device = autoencoder.device
    batch = observations(data, torch.arange(len(data))).to(device)
    try:
        with evaluating(autoencoder, device):
            return mutual_information(LocalPosterior(autoencoder, batch)).lower.mean().item()
    except Exception:  # a program that cannot be examined may still be fitted
        return math.nan
