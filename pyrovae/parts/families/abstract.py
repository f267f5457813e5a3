"""The interface of a family of conditional distributions."""

from __future__ import annotations

from abc import ABC, abstractmethod

from jaxtyping import Float
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor, nn


class Head(nn.Linear):
    """A linear map from a family's features to parameters of its distribution."""


class Family(nn.Module, ABC):
    r"""A conditional distribution of a latent, given features :math:`h` of its parents.

    .. math::
        z \sim p(z \mid h)

    With the features of an observation it is q(z | x), with those of another latent
    p(z₁ | z₂), with those of a label p(z | y).

    Args:
        features: Length of the feature vector.
        dims: Length of the latent.

    Attributes:
        formula: The distribution in the notation of a paper, given "h".
    """

    formula: str

    def __init__(self, features: int, dims: int) -> None:
        super().__init__()
        self.features = features
        self.dims = dims

    @abstractmethod
    def forward(self, features: Float[Tensor, "*batch features"]) -> TorchDistributionMixin:
        """The distribution of batch shape ``(*batch,)`` and event shape ``(dims,)``."""
