"""Poisson likelihood for counts without an upper bound."""

from __future__ import annotations

from collections.abc import Sequence

import pyro.distributions as dist
import torch
from jaxtyping import Float
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor

from pyrovae.parts.distributions.positive import positive, raw_positive
from pyrovae.parts.likelihoods.abstract import Likelihood
from pyrovae.parts.likelihoods.double_precision import in_float64
from pyrovae.parts.likelihoods.starting_means import above_zero


class PrecisePoisson(dist.Poisson):
    """Poisson whose log-density keeps its digits at large counts."""

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density in nats."""
        if self._validate_args:
            self._validate_sample(value)
        return in_float64(_log_poisson, value, self.rate)


def _log_poisson(x: Tensor, rate: Tensor) -> Tensor:
    return x.xlogy(rate) - rate - torch.lgamma(x + 1)


class PoissonLikelihood(Likelihood):
    r"""Independent counts; the decoder gives the rate behind a softplus.

    .. math::
        p(x \mid z) = \prod_i \operatorname{Poisson}(x_i \mid \operatorname{softplus} f_i(z))

    A softplus, not the exponential of the canonical link: an extreme latent cannot overflow it
    (the exponential does beyond 88 in float32), and the gradient at a large count does not grow
    with the count.

    Args:
        shape: Shape of one observation.

    References:
        Zhao et al. (2020), *Variational Autoencoders for Sparse and Overdispersed Discrete
        Data*, arXiv:1905.00616, where Poisson and negative binomial are compared.
    """

    formula = "Poisson(rate(z))"
    advice = "whole numbers from 0 on: choose model.likelihood.kind 'normal' for real-valued data"

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.event_dim = len(shape)

    def forward(self, outputs: Float[Tensor, " ..."]) -> TorchDistributionMixin:
        """p(x | z) from ``(*batch, 1, *shape)``."""
        rate = positive(outputs.squeeze(-1 - self.event_dim))
        return PrecisePoisson(rate).to_event(self.event_dim)

    def outputs_at(self, mean: Float[Tensor, " ..."]) -> Float[Tensor, "outputs ..."]:
        """The mean is the rate."""
        return raw_positive(above_zero(mean)).unsqueeze(0)
