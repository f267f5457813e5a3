"""Cost of gradient-based methods, measured before they begin."""

from __future__ import annotations

import time

import torch
from torch import Tensor

from pyrovae.compute import chunks
from pyrovae.compute.modes import evaluating
from pyrovae.data import Batch
from pyrovae.evaluation.local import LocalPosterior
from pyrovae.programs.autoencoder import Autoencoder

TRIES = 3  # of which the shortest counts: the first takes longer


def seconds_per_gradient(autoencoder: Autoencoder, batch: Batch) -> float:
    """Seconds per gradient of log p(x, z), and of log q(z | x), for a single latent.

    Measured on many latents at once, as in annealing and chains; the rest of an HMC step costs
    little.

    Args:
        autoencoder: Model and guide.
        batch: Data, of which a few are used.
    """
    with evaluating(autoencoder, batch.device):
        local = LocalPosterior(autoencoder, batch[: chunks.data(batch.device)])
        z = local.draw_guide(chunks.codes(batch.device) // len(local))
        seconds = min(_seconds(local, z) for _ in range(TRIES))
    return seconds / (len(z) * len(local))


def _seconds(local: LocalPosterior, z: Tensor) -> float:
    started = time.perf_counter()
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        log_prob = local.log_joint(z) if local.point else local.log_joint(z) + local.log_guide(z)
        (gradient,) = torch.autograd.grad(log_prob.sum(), z, allow_unused=True)
    # Discrete latents have no gradient.
    (log_prob if gradient is None else gradient).sum().item()  # waits for a GPU
    return time.perf_counter() - started
