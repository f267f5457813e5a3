"""Uniform prior on the sphere."""

from __future__ import annotations

import torch
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor

from pyrovae.parts.distributions.von_mises_fisher import HypersphericalUniform, require_sphere
from pyrovae.parts.guides import Guide
from pyrovae.parts.priors.abstract import Prior


class HypersphericalPrior(Prior):
    r"""Uniform distribution on the unit sphere.

    .. math::
        p(z) = \operatorname{Uniform}(S^{D-1}), \qquad S^{D-1} = \{z \in \mathbb{R}^D :
        \lVert z \rVert = 1\}

    No latent is far from another, and there is no centre: clusters need not crowd around zero.

    Args:
        latent_dim: Length of the latent, :math:`D`; the sphere has one dimension fewer.

    Raises:
        SpecError: The latent has length 1, for which the sphere is two points.

    References:
        Davidson et al. (2018), *Hyperspherical Variational Auto-Encoders*, arXiv:1804.00891.
    """

    like: Tensor

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        require_sphere(latent_dim)
        self.latent_dim = latent_dim
        self.formula = f"Uniform on the sphere in {latent_dim} dimensions"
        # A buffer to know where the parameters are; not worth saving.
        self.register_buffer("like", torch.empty(0), persistent=False)

    def forward(self, guide: Guide) -> TorchDistributionMixin:
        """p(z), independent of the guide."""
        return HypersphericalUniform(
            self.latent_dim, dtype=self.like.dtype, device=self.like.device
        )
