"""Interface of a likelihood p(x | z)."""

from __future__ import annotations

from abc import ABC, abstractmethod

from jaxtyping import Float
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor, nn

from pyrovae.errors import SpecError


class Likelihood(nn.Module, ABC):
    """Distribution of an observation, given the decoder's outputs.

    Attributes:
        outputs: Number of decoder outputs for each value of an observation.
        formula: The density in the notation of a paper, as shown before training.
        advice: Alternatives when data lie outside the support; the end of a sentence.
    """

    outputs: int = 1
    formula: str
    advice: str

    @abstractmethod
    def forward(self, outputs: Float[Tensor, " ..."]) -> TorchDistributionMixin:
        """p(x | z) from ``(*batch, outputs, *shape)``: batch ``(*batch,)``, event ``shape``."""

    def outputs_at(self, mean: Float[Tensor, " ..."]) -> Float[Tensor, "outputs ..."]:
        """Decoder outputs ``(outputs, *shape)`` at which p(x | z) has (about) this mean.

        They serve to start a decoder at the mean of the data. Means on the edge of the support,
        such as that of a pixel that is always black, are first moved inside a little, since their
        outputs would be infinite.

        Args:
            mean: Mean of the data, ``shape``.

        Raises:
            SpecError: No outputs are known for this likelihood.

        References:
            Burda, Grosse and Salakhutdinov (2016), *Importance Weighted Autoencoders*,
            arXiv:1509.00519, whose code starts at the mean of the data clipped to
            [0.001, 0.999].
        """
        raise SpecError(
            f"model.output_bias = 'data_mean' needs a likelihood that can be given a mean, and "
            f"{self.formula} cannot: choose 'random'"
        )
