"""Families with a location and a scale for each latent dimension."""

from __future__ import annotations

from abc import abstractmethod

from jaxtyping import Float
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor

from pyrovae.parts.distributions.positive import positive
from pyrovae.parts.families.abstract import Family, Head


class LocationScaleFamily(Family):
    r"""Distributions around :math:`\mu(h)`, in units of :math:`\sigma(h)`.

    Both are linear in the features, :math:`\sigma` behind a softplus.

    Args:
        features: Length of the feature vector.
        dims: Length of the latent.
    """

    def __init__(self, features: int, dims: int) -> None:
        super().__init__(features, dims)
        self.loc = Head(features, dims)
        self.scale = Head(features, dims)

    @abstractmethod
    def around(
        self,
        loc: Float[Tensor, "*batch dims"],
        scale: Float[Tensor, "*batch dims"],
        features: Float[Tensor, "*batch features"],
    ) -> TorchDistributionMixin:
        """Return the distribution; the features are for further parameters."""

    def forward(self, features: Float[Tensor, "*batch features"]) -> TorchDistributionMixin:
        """The distribution given features."""
        return self.around(self.loc(features), positive(self.scale(features)), features)
