"""Normalizing-flow prior."""

from __future__ import annotations

from collections.abc import Sequence

import pyro.distributions as dist
import torch
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor

from pyrovae.parts.distributions.flows import FlowDistribution, Univariate, autoregressive
from pyrovae.parts.guides import Guide
from pyrovae.parts.priors.abstract import Prior
from pyrovae.specs.priors import FlowTransform

FAMILIES: dict[FlowTransform, tuple[Univariate, str]] = {
    "spline": ("spline", "neural spline flow"),
    "autoregressive": ("affine", "masked autoregressive flow"),
}


class FlowPrior(Prior):
    r"""Standard normal noise, sent backwards through a masked autoregressive flow.

    .. math::
        \log p(z) = \log \mathcal{N}(f(z) \mid 0, I)
        + \log \left| \det \frac{\partial f(z)}{\partial z} \right|

    The direction suits training: the density of given latents takes one pass through :math:`f`, a
    draw takes ``latent_dim`` of them. It starts as the standard normal.

    A spline bends [-5, 5] in every dimension and is the identity outside. Latents under a prior
    that starts as the standard normal are of order one, so they lie there.

    Args:
        latent_dim: Length of the latent.
        transform: "spline", monotonic rational-quadratic in each dimension, or
            "autoregressive", affine in each dimension.
        layers: Number of transformations.
        widths: Hidden units of the network in each.

    References:
        Durkan et al. (2019), *Neural Spline Flows*, arXiv:1906.04032; Papamakarios et al.
        (2017), *Masked Autoregressive Flow for Density Estimation*, arXiv:1705.07057; Chen et
        al. (2017), *Variational Lossy Autoencoder*, arXiv:1611.02731, for such a prior.
    """

    loc: Tensor
    scale: Tensor

    def __init__(
        self,
        latent_dim: int,
        transform: FlowTransform = "spline",
        layers: int = 3,
        widths: Sequence[int] = (64, 64),
    ) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        univariate, name = FAMILIES[transform]
        self.formula = f"{name} of {layers} layers, learned"
        self.transform = autoregressive(univariate, latent_dim, layers=layers, widths=widths)
        self.register_buffer("loc", torch.zeros(latent_dim), persistent=False)
        self.register_buffer("scale", torch.ones(latent_dim), persistent=False)

    def forward(self, guide: Guide) -> TorchDistributionMixin:
        """p(z), independent of the guide."""
        noise = dist.Normal(self.loc, self.scale).to_event(1)
        return FlowDistribution(noise, [self.transform(None).inv])
