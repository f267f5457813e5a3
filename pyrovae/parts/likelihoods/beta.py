"""Beta likelihood for values strictly between 0 and 1."""

from __future__ import annotations

from collections.abc import Sequence

import pyro.distributions as dist
import torch
from jaxtyping import Float
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor
from torch.distributions.constraints import Constraint

from pyrovae.parts.distributions.positive import positive
from pyrovae.parts.likelihoods.abstract import Likelihood
from pyrovae.parts.likelihoods.double_precision import in_float64


class OpenUnitInterval(Constraint):
    """Strictly between 0 and 1; torch's ``unit_interval`` holds both ends."""

    def check(self, value: Tensor) -> Tensor:
        """Mask of the values strictly inside."""
        return (value > 0) & (value < 1)


class OpenBeta(dist.Beta):
    """Beta that refuses 0 and 1, where its density is zero or infinite; torch never draws them."""

    @property
    def support(self) -> Constraint:  # type: ignore[override]
        """The open unit interval."""
        return OpenUnitInterval()

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density in nats, which keeps its digits at large concentrations."""
        if self._validate_args:
            self._validate_sample(value)
        return in_float64(_log_beta, value, self.concentration1, self.concentration0)


def _log_beta(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    log_norm = torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(a + b)
    return (a - 1) * x.log() + (b - 1) * torch.log1p(-x) - log_norm


class BetaLikelihood(Likelihood):
    r"""Independent values inside (0, 1); the decoder gives both concentrations.

    .. math::
        p(x \mid z) = \prod_i \operatorname{Beta}(x_i \mid a_i(z), b_i(z)), \qquad
        a = \operatorname{softplus} f_1, \; b = \operatorname{softplus} f_2

    Args:
        shape: Shape of one observation.

    References:
        Ferrari and Cribari-Neto (2004), *Beta Regression for Modelling Rates and Proportions*,
        doi:10.1080/0266476042000214501.
    """

    outputs = 2
    formula = "Beta(a(z), b(z))"
    advice = (
        "values strictly between 0 and 1: for bits choose model.likelihood.kind 'bernoulli', or "
        "set model.binarisation to 'none' if they were made of grey levels; for data with 0 and "
        "1 among them choose 'continuous_bernoulli'"
    )

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.event_dim = len(shape)

    def forward(self, outputs: Float[Tensor, " ..."]) -> TorchDistributionMixin:
        """p(x | z) from ``(*batch, 2, *shape)``."""
        a, b = positive(outputs).unbind(-1 - self.event_dim)
        return OpenBeta(a, b).to_event(self.event_dim)
