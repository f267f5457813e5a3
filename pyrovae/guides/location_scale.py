"""What guides with a location and a scale for each latent dimension share."""

from __future__ import annotations

from abc import abstractmethod

from jaxtyping import Float
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor, nn

from pyrovae.guides.abstract import Guide
from pyrovae.networks import Encoder
from pyrovae.scale import positive


class LocationScaleGuide(Guide):
    r"""A family of distributions around :math:`\mu(x)`, in units of :math:`\sigma(x)`.

    Both are linear in the encoder's features, :math:`\sigma` behind a softplus.

    Args:
        encoder: Network from data to features.
        latent_dim: Length of the code.
    """

    def __init__(self, encoder: Encoder, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.encoder = encoder
        self.loc = nn.Linear(encoder.features, latent_dim)
        self.scale = nn.Linear(encoder.features, latent_dim)

    @abstractmethod
    def family(
        self,
        loc: Float[Tensor, "*batch latent"],
        scale: Float[Tensor, "*batch latent"],
        features: Float[Tensor, "*batch features"],
    ) -> TorchDistributionMixin:
        """The distribution; the features are for what else it needs."""

    def forward(self, x: Float[Tensor, " ..."]) -> TorchDistributionMixin:
        """q(z | x) for data of shape ``(*batch, *shape)``."""
        features = self.encoder(x)
        return self.family(self.loc(features), positive(self.scale(features)), features)
