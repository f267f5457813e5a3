"""Start of an autoencoder at the weights of another."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Independent, Normal

from pyrovae.errors import SpecError
from pyrovae.parts.distributions.positive import raw_positive
from pyrovae.parts.priors import VampPrior
from pyrovae.programs.autoencoder import Autoencoder
from pyrovae.programs.vae import VAE
from pyrovae.programs.widening import widen


@torch.no_grad()
def start_from(autoencoder: Autoencoder, other: Autoencoder) -> list[str]:
    """Copy each parameter and buffer for which another autoencoder has one of its name and shape.

    A wider network is the same function as the narrower one of the other
    (:func:`~pyrovae.programs.widening.widen`). A mixture prior becomes the mixture that a
    VampPrior is with its own guide.

    Returns:
        The names of those that start afresh.

    Raises:
        SpecError: There is none to be copied.
    """
    theirs = other.state_dict() | _as_mixture(other)
    left = []
    for name, value in autoencoder.state_dict().items():
        found = theirs.get(name)
        if found is None or found.shape != value.shape:
            left.append(name)
        else:
            value.copy_(found)
    held = set(widen(autoencoder, theirs))
    left = [name for name in left if name not in held]
    if len(left) == len(autoencoder.state_dict()):
        raise SpecError("no parameter has the name and the shape of one of the other autoencoder")
    return left


def _as_mixture(other: Autoencoder) -> dict[str, Tensor]:
    """Parameters of the mixture of diagonal normals that a VampPrior is, by name in a VAE."""
    if not isinstance(other, VAE) or not isinstance(other.prior, VampPrior):
        return {}
    components: Any = other.posterior(other.prior.data())
    if not isinstance(components, Independent) or not isinstance(components.base_dist, Normal):
        return {}
    loc, scale = components.base_dist.loc, components.base_dist.scale
    return {
        "prior.logits": other.prior.weights.log(),
        "prior.loc": loc,
        "prior.raw_scale": raw_positive(scale),
    }
