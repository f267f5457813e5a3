"""Means of q(z | x), the representation of data by their latents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor

from pyrovae.compute.modes import evaluating
from pyrovae.data import Batch, Dataset
from pyrovae.evaluation.batches import batches, observations
from pyrovae.programs.autoencoder import Autoencoder, guide_at_centers
from pyrovae.programs.plates import Plates
from pyrovae.programs.traces import Site

# Burda et al. (2016), arXiv:1509.00519, section 5: a unit is active if its mean varies with x.
ACTIVE_VARIANCE = 0.01


def codes(autoencoder: Autoencoder, data: Dataset) -> Tensor:
    """Means of q(z | x), latent sites side by side, ``(data, dims)`` on the CPU.

    A single draw where torch knows no mean of the guide's distribution.
    """
    data = autoencoder.contract.prepared(data)
    device = autoencoder.device
    few = observations(data, torch.arange(1)).to(device)
    with evaluating(autoencoder, device):
        sites = autoencoder.traces(few).latent
        # Filled in place: keeping many small tensors would fragment memory.
        found = torch.empty(len(data), means(autoencoder, few, sites).shape[1], dtype=few.x.dtype)
        start = 0
        for batch in batches(data, device):
            found[start : start + len(batch)] = means(autoencoder, batch, sites)
            start += len(batch)
    return found


def means(autoencoder: Autoencoder, batch: Batch | Tensor, sites: Sequence[str]) -> Tensor:
    """Means as of :func:`codes`, for a batch, in the programs' current mode.

    Runs the guide alone, without the decoder.

    Args:
        autoencoder: Model and guide.
        batch: The batch, on the programs' device.
        sites: The latent sites, in the model's order.
    """
    batch = Batch.of(batch)
    autoencoder.require_prepared(batch.x)
    guide = guide_at_centers(autoencoder, batch.variables)
    plates, nodes = Plates.of(guide, count=len(batch)), cast(Mapping[str, Site], guide.nodes)
    return torch.cat([plates.vectors(nodes[name])[0] for name in sites], dim=-1)


def active_dimensions(codes: Tensor) -> int:
    r"""Number of latent dimensions whose posterior mean varies with the data.

    .. math::
        \operatorname{Var}_x \mathbb{E}_{q(z \mid x)}[z_d] > 0.01

    References:
        Burda, Grosse and Salakhutdinov (2016), *Importance Weighted Autoencoders*,
        arXiv:1509.00519.
    """
    return int((codes.var(0) > ACTIVE_VARIANCE).sum())
