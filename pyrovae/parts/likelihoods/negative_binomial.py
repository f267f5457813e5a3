"""Negative binomial likelihood for counts that vary more than Poisson's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyro.distributions as dist
import torch
from jaxtyping import Float
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor, nn
from torch.distributions import constraints

from pyrovae.parts.distributions.positive import positive, raw_positive, raw_scale
from pyrovae.parts.likelihoods.abstract import Likelihood
from pyrovae.parts.likelihoods.double_precision import in_float64
from pyrovae.parts.likelihoods.rising_factorial import log_relative_rising
from pyrovae.parts.likelihoods.starting_means import above_zero


class NegativeBinomial(dist.TorchDistribution):
    r"""Negative binomial by its mean and inverse dispersion, of any size.

    Torch's class has logits instead of a mean; a large count multiplies their rounding error.

    Args:
        mean: :math:`\mu`, ``(*batch,)``.
        dispersion: :math:`\theta`, of a shape that broadcasts to the mean's.
    """

    def __init__(
        self, mean: Tensor, dispersion: Tensor, validate_args: bool | None = None
    ) -> None:
        shape = torch.broadcast_shapes(mean.shape, dispersion.shape)
        self._mean = mean.expand(shape)
        self.dispersion = dispersion  # as it is: what depends on x and θ alone is of their shape
        super().__init__(shape, validate_args=validate_args)

    @property
    def support(self) -> constraints.Constraint:
        """Whole numbers from 0 on."""
        return constraints.nonnegative_integer

    @property
    def arg_constraints(self) -> dict[str, constraints.Constraint]:
        """Both positive."""
        return {"mean": constraints.positive, "dispersion": constraints.positive}

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> NegativeBinomial:
        """The same distribution with a larger batch."""
        new: Any = self._get_checked_instance(NegativeBinomial, _instance)
        shape = torch.Size(batch_shape)
        new._mean, new.dispersion = self._mean.expand(shape), self.dispersion
        super(NegativeBinomial, new).__init__(shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density in nats."""
        if self._validate_args:
            self._validate_sample(value)
        return in_float64(_log_negative_binomial, value, self._mean, self.dispersion)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Counts of the type of the mean: a Poisson whose rate varies as a Gamma."""
        with torch.no_grad():
            gamma = dist.Gamma(self.dispersion, self.dispersion, validate_args=False)
            relative = gamma.expand(self.batch_shape).sample(torch.Size(sample_shape))
            return torch.poisson(self._mean * relative)

    @property
    def mean(self) -> Tensor:
        """Mean count."""
        return self._mean

    @property
    def variance(self) -> Tensor:
        r"""Variance :math:`\mu + \mu^2 / \theta`."""
        return self._mean * (1 + self._mean / self.dispersion)


def _log_negative_binomial(x: Tensor, mean: Tensor, dispersion: Tensor) -> Tensor:
    rising = log_relative_rising(x, dispersion, dispersion.log())
    tilted = (x + dispersion) * torch.log1p(mean / dispersion)
    return x.xlogy(mean) - torch.lgamma(x + 1) + rising - tilted


class NegativeBinomialLikelihood(Likelihood):
    r"""Independent counts with a mean from the decoder and a learned dispersion for each value.

    .. math::
        p(x \mid z) = \prod_i \operatorname{NB}(x_i \mid \mu_i(z), \theta_i) = \prod_i
        \frac{\Gamma(x_i + \theta_i)}{x_i! \, \Gamma(\theta_i)}
        \left(\frac{\theta_i}{\theta_i + \mu_i}\right)^{\theta_i}
        \left(\frac{\mu_i}{\theta_i + \mu_i}\right)^{x_i}

    The mean is :math:`\mu = \operatorname{softplus} f(z)`, the variance
    :math:`\mu + \mu^2 / \theta`: a Poisson whose rate varies as a Gamma of shape
    :math:`\theta`, the "inverse dispersion" of the reference, and the Poisson itself as
    :math:`\theta \to \infty`. It starts at 1.

    Args:
        shape: Shape of one observation.

    References:
        Lopez et al. (2018), *Deep Generative Modeling for Single-cell Transcriptomics*,
        doi:10.1038/s41592-018-0229-2 (scVI, dispersion "gene"), arXiv:1709.02082.
    """

    formula = "NegativeBinomial(mean(z), one learned dispersion a value)"
    advice = "whole numbers from 0 on: choose model.likelihood.kind 'normal' for real-valued data"

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.event_dim = len(shape)
        self.raw_dispersion = nn.Parameter(torch.full(tuple(shape), raw_scale(1.0)))

    def forward(self, outputs: Float[Tensor, " ..."]) -> TorchDistributionMixin:
        """p(x | z) from ``(*batch, 1, *shape)``."""
        mean = positive(outputs.squeeze(-1 - self.event_dim))
        dispersion = positive(self.raw_dispersion)
        return NegativeBinomial(mean, dispersion).to_event(self.event_dim)

    def outputs_at(self, mean: Float[Tensor, " ..."]) -> Float[Tensor, "outputs ..."]:
        """Outputs of this mean, which does not depend on the dispersion."""
        return raw_positive(above_zero(mean)).unsqueeze(0)
