"""Divergence of guide and posterior on data from the model, which is known without log p(x)."""

from __future__ import annotations

from typing import NamedTuple

import torch

from pyrovae.compute.modes import evaluating
from pyrovae.data import Batch
from pyrovae.evaluation.batches import BATCH
from pyrovae.evaluation.importance import require_density, standard_error
from pyrovae.evaluation.local import LocalPosterior
from pyrovae.evaluation.simulation import simulate
from pyrovae.programs.autoencoder import Autoencoder


class Divergence(NamedTuple):
    """A mean over simulations and its standard error, in nats."""

    nats: float
    error: float


def divergence(autoencoder: Autoencoder, like: Batch, simulations: int = 1000) -> Divergence:
    r"""Jeffreys divergence of guide and posterior, the sum of both KLs, on simulated data.

    .. math::
        \mathbb{E}_{p(x, z)} \log \frac{p(x, z)}{q(z \mid x)} -
        \mathbb{E}_{p(x)\, q(\tilde z \mid x)} \log \frac{p(x, \tilde z)}{q(\tilde z \mid x)} =
        \mathbb{E}_{p(x)} \bigl[\operatorname{KL}(p, q) + \operatorname{KL}(q, p)\bigr]

    The two terms bound :math:`\log p(x)` from above and below, so that it drops out. The inference
    gap on data from the model is at most this.

    Args:
        autoencoder: Model and guide.
        like: Data that give the shape of the simulated ones, and what the model does not draw.
        simulations: Number of data to simulate.

    Raises:
        SpecError: The guide is a point, or has auxiliary sites.

    References:
        Grosse, Ghahramani and Adams (2015), *Sandwiching the Marginal Likelihood Using
        Bidirectional Monte Carlo*, arXiv:1511.02543, whose upper bound is of this kind.
    """
    index = torch.arange(simulations, device=like.device) % len(like)
    with evaluating(autoencoder, like.device):
        local = LocalPosterior(autoencoder, like[:2])
        require_density(local)
        found = torch.cat([_differences(autoencoder, local, like[i]) for i in index.split(BATCH)])
    return Divergence(found.mean().item(), standard_error(found).item())


def _differences(autoencoder: Autoencoder, local: LocalPosterior, like: Batch) -> torch.Tensor:
    """Log weight at the latent of each simulated observation, less that at a draw."""
    simulated = simulate(autoencoder, like)
    local, z = local.of(simulated.batch), simulated.z[None]
    return (local.log_joint(z) - local.log_guide(z) - local.draw(1).log_weight)[0]
