"""Laplace guide with independent latent dimensions."""

from __future__ import annotations

import pyro.distributions as dist
from jaxtyping import Float
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor, nn

from pyrovae.guides.abstract import Guide
from pyrovae.networks import Encoder
from pyrovae.scale import positive


class LaplaceGuide(Guide):
    r"""Independent Laplace variables, both parameters linear in the encoder's features.

    .. math::
        q(z \mid x) = \prod_d \frac{1}{2 b_d(x)}
        \exp \Big( -\frac{|z_d - \mu_d(x)|}{b_d(x)} \Big)

    Args:
        encoder: Network from data to features.
        latent_dim: Length of the code.

    References:
        Kingma and Welling (2014), *Auto-Encoding Variational Bayes*, arXiv:1312.6114, section
        2.4, which names it among the families that can be reparameterised.
    """

    formula = "Laplace(loc(x), scale(x))"

    def __init__(self, encoder: Encoder, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.encoder = encoder
        self.loc = nn.Linear(encoder.features, latent_dim)
        self.scale = nn.Linear(encoder.features, latent_dim)

    def forward(self, x: Float[Tensor, " ..."]) -> TorchDistributionMixin:
        """q(z | x) for data of shape ``(*batch, *shape)``."""
        features = self.encoder(x)
        return dist.Laplace(self.loc(features), positive(self.scale(features))).to_event(1)
