"""Mixture-of-Gaussians prior."""

from __future__ import annotations

import pyro.distributions as dist
import torch
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import nn

from pyrovae.parts.distributions.normal_mixture import NormalMixture
from pyrovae.parts.distributions.positive import positive
from pyrovae.parts.guides import Guide
from pyrovae.parts.priors.abstract import Prior


class MixturePrior(Prior):
    r"""Learned mixture of diagonal Gaussians.

    .. math::
        p(z) = \sum_{k=1}^{K} \pi_k \, \mathcal{N}(z \mid \mu_k, \operatorname{diag} \sigma_k^2)

    Weights are parameterised by logits and scales by a softplus, so that the optimiser is
    unconstrained while the density stays proper. The locations start as draws from the standard
    normal: components that start alike would stay alike.

    Args:
        latent_dim: Length of the latent.
        components: Number of Gaussians :math:`K`.

    References:
        Dilokthanakul et al. (2016), *Deep Unsupervised Clustering with Gaussian Mixture
        Variational Autoencoders*, arXiv:1611.02648; Tomczak and Welling (2018), *VAE with a
        VampPrior*, arXiv:1705.07120, where it is the baseline "MoG".
    """

    def __init__(self, latent_dim: int, components: int = 10) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.formula = f"mixture of {components} diagonal Normals, learned"
        self.logits = nn.Parameter(torch.zeros(components))
        self.loc = nn.Parameter(torch.randn(components, latent_dim))
        self.raw_scale = nn.Parameter(torch.zeros(components, latent_dim))

    def forward(self, guide: Guide) -> TorchDistributionMixin:
        """p(z), independent of the guide."""
        components = dist.Normal(self.loc, positive(self.raw_scale)).to_event(1)
        return NormalMixture(dist.Categorical(logits=self.logits), components)
