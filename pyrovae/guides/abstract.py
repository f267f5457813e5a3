"""What every guide q(z | x) offers."""

from __future__ import annotations

from abc import ABC, abstractmethod

from jaxtyping import Float
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor, nn


class Guide(nn.Module, ABC):
    """The approximate posterior q(z | x): an encoder and a family of distributions.

    Attributes:
        latent_dim: Length of the code.
        formula: The family in the notation of a paper, as shown before training.
    """

    latent_dim: int
    formula: str

    @abstractmethod
    def forward(self, x: Float[Tensor, " ..."]) -> TorchDistributionMixin:
        """q(z | x) for data ``(*batch, *shape)``: batch ``(*batch,)``, event ``(latent_dim,)``."""
