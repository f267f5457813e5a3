"""What every prior p(z) offers."""

from __future__ import annotations

from abc import ABC, abstractmethod

from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import nn

from pyrovae.parts.guides import Guide


class Prior(nn.Module, ABC):
    """The distribution of the latent code.

    Attributes:
        latent_dim: Length of the code.
        formula: The density in the notation of a paper, as shown before training.
    """

    latent_dim: int
    formula: str

    @abstractmethod
    def forward(self, guide: Guide) -> TorchDistributionMixin:
        """p(z), with no batch shape and event shape ``(latent_dim,)``.

        Args:
            guide: The guide of the same autoencoder. Most priors have no use for it; the
                VampPrior is made of it.
        """
