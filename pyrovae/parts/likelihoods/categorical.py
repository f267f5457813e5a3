"""Categorical likelihood: a probability for each grey level."""

from __future__ import annotations

from collections.abc import Sequence

import pyro.distributions as dist
import torch
from jaxtyping import Float
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor

from pyrovae.parts.likelihoods.abstract import Likelihood
from pyrovae.parts.likelihoods.grey_levels import mean_level, variance_of_level


class CategoricalLevels(dist.Categorical):
    """Categorical whose categories are numbers: it has moments, and draws are floats."""

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Levels of the type of the logits, as data have it."""
        return super().sample(torch.Size(sample_shape)).to(self.logits.dtype)

    @property
    def mean(self) -> Tensor:
        """Mean level."""
        return mean_level(self.probs)

    @property
    def variance(self) -> Tensor:
        """Variance of the level."""
        return variance_of_level(self.probs)


class CategoricalLikelihood(Likelihood):
    r"""Independent grey levels, each with a probability of its own.

    .. math::
        p(x \mid z) = \prod_i \operatorname{softmax}(f_i(z))_{x_i}, \qquad
        x_i \in \{0, \dots, N\}

    It can represent any distribution of a value, but ignores the order of the levels.

    Args:
        shape: Shape of one observation.
        levels: :math:`N`, the largest intensity; the decoder gives :math:`N + 1` numbers a value.

    References:
        Van den Oord, Kalchbrenner and Kavukcuoglu (2016), *Pixel Recurrent Neural Networks*,
        arXiv:1601.06759, section 3.
    """

    def __init__(self, shape: Sequence[int], levels: int) -> None:
        super().__init__()
        self.event_dim = len(shape)
        self.outputs = levels + 1
        self.formula = f"Categorical(0..{levels}, logits(z))"
        self.advice = (
            f"whole numbers from 0 to {levels}: set model.likelihood.levels to the largest "
            "intensity, or choose model.likelihood.kind 'normal'"
        )

    def forward(self, outputs: Float[Tensor, " ..."]) -> TorchDistributionMixin:
        """p(x | z) from logits ``(*batch, levels + 1, *shape)``."""
        logits = outputs.movedim(-1 - self.event_dim, -1)
        largest = logits.detach().amax(-1, keepdim=True)  # a constant, which no density sees
        return CategoricalLevels(logits=logits - largest).to_event(self.event_dim)
