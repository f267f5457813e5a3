"""Data drawn from a fitted model: from its prior, and from the posteriors of observed data."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from pyrovae.compute import chunks
from pyrovae.compute.modes import evaluating
from pyrovae.data import Batch
from pyrovae.evaluation.local import LocalPosterior
from pyrovae.evaluation.simulation import simulate
from pyrovae.programs.autoencoder import Autoencoder

MOST_DRAWS = 100
# Values of all replicas together: as bytes 20 MB, as real numbers 80 MB.
MOST_VALUES = 20_000_000


class Replicates(NamedTuple):
    """Data sets simulated from the model, with the latents that generated them; on the CPU.

    Attributes:
        z: Latents from p(z), ``(replicates, obs, dims)``.
        data: Data from p(x | z), ``(replicates, obs, *shape)`` by variable.
    """

    z: Tensor
    data: dict[str, Tensor]


def how_many(x: Tensor) -> int:
    """Number of replicas of the data ``(obs, *shape)`` that memory allows; at least one."""
    return max(1, min(MOST_DRAWS, MOST_VALUES // x.numel()))


def posterior_predictive(autoencoder: Autoencoder, batch: Batch, z: Tensor) -> dict[str, Tensor]:
    """Data drawn from p(x | z) at latents ``(draws, obs, dims)``.

    Each observation is drawn given latents from its own posterior. The draws show the uncertainty
    of a reconstruction; they use the data twice, and so do not test the model.

    Returns:
        ``(draws, obs, *shape)`` by variable, on the CPU.

    Raises:
        SpecError: The model observes no site, or what is not part of a variable.
    """
    with evaluating(autoencoder, batch.device):
        size = chunks.data(batch.device)
        parts = zip(batch.split(size), z.to(batch.device).split(size, dim=1), strict=True)
        drawn = [LocalPosterior(autoencoder, part).draw_data(codes) for part, codes in parts]
    return {name: torch.cat([part[name].cpu() for part in drawn], dim=1) for name in drawn[0]}


def prior_predictive(
    autoencoder: Autoencoder, like: Batch | Tensor, replicates: int
) -> Replicates:
    """Data sets from the model, as large as ``like``, with their latents.

    Raises:
        SpecError: The model observes no site, or what is not part of a variable.
    """
    with evaluating(autoencoder, like.device):
        sets = [simulate(autoencoder, like) for _ in range(replicates)]
    return Replicates(
        torch.stack([found.z for found in sets]).cpu(),
        {
            name: torch.stack([s.batch.variables[name] for s in sets]).cpu()
            for name in sets[0].drawn
        },
    )
