"""Normal guide with independent latent dimensions."""

from __future__ import annotations

import pyro.distributions as dist
from jaxtyping import Float
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor, nn

from pyrovae.guides.abstract import Guide
from pyrovae.networks import Encoder
from pyrovae.scale import positive


class DiagonalGuide(Guide):
    r"""Normal with a diagonal covariance, both parameters linear in the encoder's features.

    .. math::
        q(z \mid x) = \mathcal{N}(z \mid \mu(x), \operatorname{diag} \sigma(x)^2)

    Args:
        encoder: Network from data to features.
        latent_dim: Length of the code.

    Example:
        >>> import torch
        >>> from pyrovae.networks import MLPEncoder
        >>> DiagonalGuide(MLPEncoder((16,), widths=[8]), latent_dim=2)(torch.zeros(5, 16))
        Independent(Normal(loc: torch.Size([5, 2]), scale: torch.Size([5, 2])), 1)

    References:
        Kingma and Welling (2014), *Auto-Encoding Variational Bayes*, arXiv:1312.6114.
    """

    formula = "Normal(loc(x), diag scale(x)²)"

    def __init__(self, encoder: Encoder, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.encoder = encoder
        self.loc = nn.Linear(encoder.features, latent_dim)
        self.scale = nn.Linear(encoder.features, latent_dim)

    def forward(self, x: Float[Tensor, " ..."]) -> TorchDistributionMixin:
        """q(z | x) for data of shape ``(*batch, *shape)``."""
        features = self.encoder(x)
        return dist.Normal(self.loc(features), positive(self.scale(features))).to_event(1)
