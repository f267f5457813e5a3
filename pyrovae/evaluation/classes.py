"""Probabilities of the values of discrete latents under the guide."""

from __future__ import annotations

import torch
from torch import Tensor

from pyrovae.compute import chunks
from pyrovae.compute.modes import evaluating
from pyrovae.data import Batch
from pyrovae.evaluation.local import LocalPosterior
from pyrovae.programs.autoencoder import Autoencoder

# Draws of the latents that a class depends on.
DRAWS = 100


def class_probabilities(autoencoder: Autoencoder, batch: Batch | Tensor) -> dict[str, Tensor]:
    r"""q(k | x) of each discrete latent, float64 ``(data, classes)`` on the CPU.

    .. math::
        q(k \mid x) = \mathbb{E}_{q(z \mid x)} q(k \mid x, z)

    The mean over the latents z that the guide draws before k is one over 100 draws; without them
    it is exact.

    Args:
        autoencoder: Model and guide.
        batch: The data. What is known of a class is not used: where ``y`` is a latent, ``y_known``
            is taken as false.

    Returns:
        By name, such as ``y``, or ``y[0]`` where a site has several for each observation. Sites
        whose values cannot be listed, such as counts, are left out.
    """
    batch = Batch.of(batch)
    parts: dict[str, list[Tensor]] = {}
    with evaluating(autoencoder, batch.device):
        batch = batch.unlabelled(LocalPosterior(autoencoder, batch[:1]).shapes)
        for part in batch.split(max(1, chunks.codes(batch.device) // DRAWS)):
            for name, found in LocalPosterior(autoencoder, part).probabilities(DRAWS).items():
                parts.setdefault(name, []).append(found.mean(0).cpu())
    return {
        name if found.shape[1] == 1 else f"{name}[{i}]": found[:, i]
        for name, found in ((name, torch.cat(columns)) for name, columns in parts.items())
        for i in range(found.shape[1])
    }
