"""Data drawn from a fitted model: from its prior, and from the posteriors of observed data."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from pyrovae.compute import chunks
from pyrovae.compute.modes import evaluating
from pyrovae.data import Batch
from pyrovae.errors import SpecError
from pyrovae.evaluation.local import LocalPosterior, simulate
from pyrovae.programs.autoencoder import Autoencoder

MOST_DRAWS = 100
# Values of all replicas together: as bytes 20 MB, as real numbers 80 MB.
MOST_VALUES = 20_000_000


class Replicates(NamedTuple):
    """Data sets simulated from the model, with the latents that generated them; on the CPU.

    Attributes:
        z: Latents from p(z), ``(replicates, obs, dims)``.
        x: Data from p(x | z), ``(replicates, obs, *shape)``.
    """

    z: Tensor
    x: Tensor


def how_many(x: Tensor) -> int:
    """Number of replicas of the data ``(obs, *shape)`` that memory allows; at least one."""
    return max(1, min(MOST_DRAWS, MOST_VALUES // x.numel()))


def posterior_predictive(autoencoder: Autoencoder, batch: Batch, z: Tensor) -> Tensor:
    """Data drawn from p(x | z) at latents ``(draws, obs, dims)``: ``(draws, obs, *shape)``.

    On the CPU. Each observation is drawn given latents from its own posterior. The draws show
    the uncertainty of a reconstruction; they use the data twice, and so do not test the model.

    Raises:
        SpecError: The model observes no site.
    """
    with evaluating(autoencoder, batch.device):
        size = chunks.data(batch.device)
        parts = zip(batch.split(size), z.to(batch.device).split(size, dim=1), strict=True)
        return torch.cat([_observe(autoencoder, *part).cpu() for part in parts], dim=1)


def prior_predictive(
    autoencoder: Autoencoder, like: Batch | Tensor, replicates: int
) -> Replicates:
    """Data sets from the model, as large as ``like``, with their latents.

    Raises:
        SpecError: The model observes several sites.
    """
    with evaluating(autoencoder, like.device):
        sets = [simulate(autoencoder, like) for _ in range(replicates)]
    z, x = (torch.stack(column).cpu() for column in zip(*((s.z, s.x) for s in sets), strict=True))
    return Replicates(z, x)


def _observe(autoencoder: Autoencoder, batch: Batch, z: Tensor) -> Tensor:
    local = LocalPosterior(autoencoder, batch)
    observations = local.observation(z)
    if not observations:
        raise SpecError("the model observes no site, only a factor: nothing can be drawn")
    drawn = [site.sample().reshape(*z.shape[:2], -1) for site in observations]
    values = torch.cat(drawn, dim=-1)
    return values.reshape(*z.shape[:2], *local.x.shape[1:]) if len(drawn) == 1 else values
