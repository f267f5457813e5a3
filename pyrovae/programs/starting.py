"""Start of an autoencoder at the weights of another."""

from __future__ import annotations

import torch

from pyrovae.errors import SpecError
from pyrovae.parts.distributions.positive import raw_positive
from pyrovae.parts.priors import MixturePrior, Prior, VampPrior
from pyrovae.programs.autoencoder import Autoencoder
from pyrovae.programs.vae import VAE


@torch.no_grad()
def start_from(autoencoder: Autoencoder, other: Autoencoder) -> list[str]:
    """Copy each parameter and buffer for which another autoencoder has one of its name and shape.

    A mixture prior becomes the mixture that a VampPrior is with its own guide.

    Returns:
        The names of those that were not copied.

    Raises:
        SpecError: There is none to be copied.
    """
    theirs = other.state_dict()
    left = []
    if isinstance(autoencoder, VAE) and isinstance(other, VAE):
        _start_mixture(autoencoder.prior, other)
    for name, value in autoencoder.state_dict().items():
        found = theirs.get(name)
        if found is None or found.shape != value.shape:
            left.append(name)
        else:
            value.copy_(found)
    if len(left) == len(autoencoder.state_dict()):
        raise SpecError("no parameter has the name and the shape of one of the other autoencoder")
    return left


def _start_mixture(prior: Prior, other: VAE) -> None:
    if isinstance(prior, MixturePrior) and isinstance(other.prior, VampPrior):
        components = other.posterior(other.prior.data()).base_dist
        prior.logits.copy_(other.prior.weights.log())
        prior.loc.copy_(components.loc)
        prior.raw_scale.copy_(raw_positive(components.scale))
