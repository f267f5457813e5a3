"""Standard normal prior."""

from __future__ import annotations

import pyro.distributions as dist
import torch
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor

from pyrovae.guides import Guide
from pyrovae.priors.abstract import Prior


class NormalPrior(Prior):
    r"""Standard normal.

    .. math::
        p(z) = \mathcal{N}(z \mid 0, I)

    Args:
        latent_dim: Length of the code.

    References:
        Kingma and Welling (2014), *Auto-Encoding Variational Bayes*, arXiv:1312.6114.
    """

    formula = "Normal(0, I)"
    loc: Tensor
    scale: Tensor

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        # Buffers, so that they follow the parameters to another device; not worth saving.
        self.register_buffer("loc", torch.zeros(latent_dim), persistent=False)
        self.register_buffer("scale", torch.ones(latent_dim), persistent=False)

    def forward(self, guide: Guide) -> TorchDistributionMixin:
        """p(z), whatever the guide."""
        return dist.Normal(self.loc, self.scale).to_event(1)
