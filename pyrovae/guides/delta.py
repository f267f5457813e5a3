"""A point for a guide."""

from __future__ import annotations

import pyro.distributions as dist
from jaxtyping import Float
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor, nn

from pyrovae.guides.abstract import Guide
from pyrovae.networks import Encoder


class DeltaGuide(Guide):
    r"""All mass at one point, linear in the encoder's features.

    .. math::
        q(z \mid x) = \delta(z - \mu(x))

    The bound becomes :math:`\log p(x \mid z) + \beta \log p(z)` at :math:`z = \mu(x)`: an
    autoencoder whose codes the prior keeps together, the plain autoencoder at
    :math:`\beta = 0`. It has no density against which that of the prior could be measured, so the
    number is no bound on :math:`\log p(x)`.

    Args:
        encoder: Network from data to features.
        latent_dim: Length of the code.

    References:
        Hinton and Salakhutdinov (2006), *Reducing the Dimensionality of Data with Neural
        Networks*, Science 313; Ghosh et al. (2020), *From Variational to Deterministic
        Autoencoders*, arXiv:1903.12436.
    """

    formula = "Delta(loc(x))"

    def __init__(self, encoder: Encoder, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.encoder = encoder
        self.loc = nn.Linear(encoder.features, latent_dim)

    def forward(self, x: Float[Tensor, " ..."]) -> TorchDistributionMixin:
        """q(z | x) for data of shape ``(*batch, *shape)``."""
        return dist.Delta(self.loc(self.encoder(x))).to_event(1)
