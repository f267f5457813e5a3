"""What every likelihood p(x | z) offers."""

from __future__ import annotations

from abc import ABC, abstractmethod

from jaxtyping import Float
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor, nn

from pyrovae.errors import SpecError


class Likelihood(nn.Module, ABC):
    """The distribution of an observation, given what the decoder says of it.

    Attributes:
        outputs: Numbers the decoder has to give for each value of an observation.
        formula: The density in the notation of a paper, as shown before training.
        advice: What to choose when data lie outside the support; the end of a sentence.
    """

    outputs: int = 1
    formula: str
    advice: str

    @abstractmethod
    def forward(self, outputs: Float[Tensor, " ..."]) -> TorchDistributionMixin:
        """p(x | z) from ``(*batch, outputs, *shape)``: batch ``(*batch,)``, event ``shape``."""

    def outputs_at(self, mean: Float[Tensor, " *shape"]) -> Float[Tensor, " ..."]:
        """Outputs ``(outputs, *shape)`` at which p(x | z) has a mean, or comes near to it.

        Args:
            mean: That of the data as the model sees them, ``(*shape)``.

        Raises:
            SpecError: There are no such outputs.
        """
        raise SpecError(
            f'model.output_bias = "data_mean" needs a likelihood that can be given a mean, and '
            f'{self.formula} cannot: choose "random"'
        )
