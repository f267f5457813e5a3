"""Data drawn from a fitted model: from its prior, and from the posteriors of observed data."""

from __future__ import annotations

import torch
from torch import Tensor

from pyrovae.compute import chunks
from pyrovae.compute.modes import evaluating
from pyrovae.errors import SpecError
from pyrovae.evaluation.local import LocalPosterior, Simulated, simulate
from pyrovae.programs.autoencoder import Autoencoder

MOST_DRAWS = 100
# Values of all replicas together: as bytes 20 MB, as real numbers 80 MB.
MOST_VALUES = 20_000_000


def how_many(x: Tensor) -> int:
    """Number of replicas of the data ``(obs, *shape)`` that memory allows; at least one."""
    return max(1, min(MOST_DRAWS, MOST_VALUES // x.numel()))


def posterior_predictive(autoencoder: Autoencoder, x: Tensor, z: Tensor) -> Tensor:
    """Data drawn from p(x | z) at latents ``(draws, obs, dims)``: ``(draws, obs, *shape)``.

    On the CPU. Each observation is drawn given latents from its own posterior. The draws show
    the uncertainty of a reconstruction; they use the data twice, and so do not test the model.

    Raises:
        SpecError: The model observes no site.
    """
    with evaluating(autoencoder, x.device):
        size = chunks.data(x.device)
        parts = zip(x.split(size), z.to(x.device).split(size, dim=1), strict=True)
        return torch.cat([_observe(autoencoder, *part).cpu() for part in parts], dim=1)


def prior_predictive(autoencoder: Autoencoder, like: Tensor, replicates: int) -> Simulated:
    """Data sets from the model, as large as ``like``, with their latents; on the CPU.

    Returns:
        z ``(replicates, obs, dims)`` and x ``(replicates, obs, *shape)``.

    Raises:
        SpecError: The model observes several sites.
    """
    with evaluating(autoencoder, like.device):
        sets = [simulate(autoencoder, like) for _ in range(replicates)]
    return Simulated(*(torch.stack(column).cpu() for column in zip(*sets, strict=True)))


def _observe(autoencoder: Autoencoder, x: Tensor, z: Tensor) -> Tensor:
    observations = LocalPosterior(autoencoder, x).observation(z)
    if not observations:
        raise SpecError("the model observes no site, only a factor: nothing can be drawn")
    drawn = [site.sample().reshape(*z.shape[:2], -1) for site in observations]
    values = torch.cat(drawn, dim=-1)
    return values.reshape(*z.shape[:2], *x.shape[1:]) if len(drawn) == 1 else values
