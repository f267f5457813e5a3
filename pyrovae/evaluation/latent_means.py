"""Means of q(z | x) of a split, and the dimensions in which they vary."""

from __future__ import annotations

import torch
from torch import Tensor

from pyrovae.data import Dataset
from pyrovae.programs.autoencoder import Autoencoder

# Burda et al. (2016), arXiv:1509.00519, section 5: a unit is active if its mean varies with x.
ACTIVE_VARIANCE = 0.01


def codes(autoencoder: Autoencoder, data: Dataset) -> Tensor:
    """Means of q(z | x), ``(data, dims)`` on the CPU; see :meth:`pyrovae.Autoencoder.embed`."""
    return torch.from_numpy(autoencoder.embed(data))


def active_dimensions(codes: Tensor) -> int:
    r"""Number of latent dimensions whose posterior mean varies with the data.

    .. math::
        \operatorname{Var}_x \mathbb{E}_{q(z \mid x)}[z_d] > 0.01

    References:
        Burda, Grosse and Salakhutdinov (2016), *Importance Weighted Autoencoders*,
        arXiv:1509.00519.
    """
    spread = codes.var(0, correction=min(1, len(codes) - 1))  # of one observation: none
    return int((spread > ACTIVE_VARIANCE).sum())
