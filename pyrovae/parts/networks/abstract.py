"""Interfaces of encoder and decoder networks."""

from __future__ import annotations

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor, nn

from pyrovae.parts.standardisation import Standardisation
from pyrovae.specs.networks import Inputs


class Encoder(nn.Module, ABC):
    """A network from data to features, from which a family takes its parameters.

    Attributes:
        features: Length of the feature vector.
        levels: The data's largest intensity; data are divided by it.
        standardisation: Standardisation of real-valued data, or None.
        inputs: "scaled", or "log1p" for counts, whose sizes differ by orders of magnitude.
    """

    features: int

    def __init__(self, levels: float = 1.0) -> None:
        super().__init__()
        self.levels = levels
        self.standardisation: Standardisation | None = None
        self.inputs: Inputs = "scaled"

    def scaled(self, x: Float[Tensor, " ..."]) -> Float[Tensor, " ..."]:
        """Data ``(*batch, *shape)``, scaled to order one."""
        if self.inputs == "log1p":
            return x.log1p()
        return (x if self.standardisation is None else self.standardisation(x)) / self.levels

    @abstractmethod
    def forward(self, x: Float[Tensor, " ..."]) -> Float[Tensor, "*batch features"]:
        """Features of data of shape ``(*batch, *shape)``."""


class Decoder(nn.Module, ABC):
    """A network from latents to the parameters of a likelihood."""

    @abstractmethod
    def forward(self, z: Float[Tensor, "*batch latent"]) -> Float[Tensor, " ..."]:
        """Outputs of shape ``(*batch, outputs, *shape)``, ``outputs`` numbers for each value."""

    @abstractmethod
    def start_at(self, outputs: Float[Tensor, " ..."]) -> None:
        """Set the last bias so that outputs start around ``(outputs, *shape)``."""

    def pooled(self, mean: Float[Tensor, " *shape"]) -> Float[Tensor, " *shape"]:
        """Means over values that share a last bias; by default each value has its own."""
        return mean
