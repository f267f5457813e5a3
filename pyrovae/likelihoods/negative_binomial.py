"""Negative binomial likelihood for counts that vary more than Poisson's."""

from __future__ import annotations

from collections.abc import Sequence

import pyro.distributions as dist
import torch
from jaxtyping import Float
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor, nn

from pyrovae.likelihoods.abstract import Likelihood
from pyrovae.likelihoods.starting import above_zero
from pyrovae.scale import positive, raw_positive, raw_scale


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
        logits = mean.log() - dispersion.log()
        return dist.NegativeBinomial(dispersion, logits=logits).to_event(self.event_dim)

    def outputs_at(self, mean: Float[Tensor, " ..."]) -> Float[Tensor, "outputs ..."]:
        """The mean, whatever the dispersion."""
        return raw_positive(above_zero(mean)).unsqueeze(0)
