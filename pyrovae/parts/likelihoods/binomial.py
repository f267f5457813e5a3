"""Binomial likelihood for grey levels that are counts."""

from __future__ import annotations

from collections.abc import Sequence

import pyro.distributions as dist
import torch
from jaxtyping import Float
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor
from torch.nn.functional import logsigmoid

from pyrovae.parts.likelihoods.abstract import Likelihood
from pyrovae.parts.likelihoods.double_precision import in_float64
from pyrovae.parts.likelihoods.starting_means import inside_unit


class PreciseBinomial(dist.Binomial):
    """Binomial whose log-density keeps its digits at large counts."""

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density in nats."""
        if self._validate_args:
            self._validate_sample(value)
        return in_float64(_log_binomial, value, self.total_count, self.logits)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Counts of the type of the logits, also where a share rounds to one."""
        with torch.no_grad():
            shape = self._extended_shape(torch.Size(sample_shape))
            share = self.logits.double().sigmoid().expand(shape)
            counts = torch.binomial(self.total_count.double().expand(shape), share)
            return counts.to(self.logits.dtype)

    @property
    def variance(self) -> Tensor:
        """Variance of the count, also where its share rounds to one."""
        return self.mean * torch.sigmoid(-self.logits)


def _log_binomial(x: Tensor, total_count: Tensor, logits: Tensor) -> Tensor:
    rest = total_count - x
    ways = torch.lgamma(total_count + 1) - torch.lgamma(x + 1) - torch.lgamma(rest + 1)
    return ways + total_count * logsigmoid(logits) - rest * logits


class BinomialLikelihood(Likelihood):
    r"""Independent counts out of a known number; the decoder gives logits.

    .. math::
        p(x \mid z) = \prod_i \operatorname{Binomial}(x_i \mid N, \operatorname{sigmoid} f_i(z))

    For scikit-learn's digits this is the exact likelihood: each of their 64 intensities counts the
    black pixels among the 16 of a block of the scanned bitmap.

    Args:
        shape: Shape of one observation.
        total_count: :math:`N`, the largest intensity.

    References:
        Alpaydin and Kaynak (1998), *Optical Recognition of Handwritten Digits*, UCI Machine
        Learning Repository, doi:10.24432/C50P49.
    """

    total_count: Tensor

    def __init__(self, shape: Sequence[int], total_count: int) -> None:
        super().__init__()
        self.event_dim = len(shape)
        self.formula = f"Binomial({total_count}, logits(z))"
        self.advice = (
            f"whole numbers from 0 to {total_count}: set model.likelihood.total_count to the "
            "largest intensity, or choose model.likelihood.kind 'normal'"
        )
        self.register_buffer("total_count", torch.tensor(float(total_count)), persistent=False)

    def forward(self, outputs: Float[Tensor, " ..."]) -> TorchDistributionMixin:
        """p(x | z) from logits ``(*batch, 1, *shape)``."""
        logits = outputs.squeeze(-1 - self.event_dim)
        return PreciseBinomial(self.total_count, logits=logits).to_event(self.event_dim)

    def outputs_at(self, mean: Float[Tensor, " ..."]) -> Float[Tensor, "outputs ..."]:
        """The logit of the mean's share in the total."""
        return inside_unit(mean / self.total_count).logit().unsqueeze(0)
