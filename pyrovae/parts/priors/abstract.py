"""Interface of a prior p(z)."""

from __future__ import annotations

from abc import ABC, abstractmethod

from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import nn

from pyrovae.parts.guides import Guide


class Prior(nn.Module, ABC):
    """Distribution of the latent.

    Attributes:
        latent_dim: Length of the latent.
        formula: The density in the notation of a paper, as shown before training.
    """

    latent_dim: int
    formula: str

    @abstractmethod
    def forward(self, guide: Guide) -> TorchDistributionMixin:
        """p(z), with no batch shape and event shape ``(latent_dim,)``.

        Args:
            guide: The guide of the same autoencoder, of which the VampPrior is a mixture. Other
                priors ignore it.
        """
