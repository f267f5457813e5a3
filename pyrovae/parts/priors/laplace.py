"""Laplace prior."""

from __future__ import annotations

import pyro.distributions as dist
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor

from pyrovae.parts.priors.location_scale import LocationScalePrior


class LaplacePrior(LocationScalePrior):
    r"""Independent Laplace variables: more mass at the centre and in the tails than normal ones.

    .. math::
        p(z) = \prod_d \frac{1}{2 s_d} \exp \Big( -\frac{|z_d - m_d|}{s_d} \Big)

    The normal prior is invariant to rotations of the latent; this one is not, and favours latents
    with few dimensions far from zero.

    Args:
        latent_dim: Length of the latent.
        learned: Make location :math:`m` and scale :math:`s` parameters; otherwise 0 and 1.

    References:
        Mathieu et al. (2019), *Disentangling Disentanglement in Variational Autoencoders*,
        arXiv:1812.02833, on priors that are not invariant to rotations.
    """

    def __init__(self, latent_dim: int, learned: bool = False) -> None:
        super().__init__(latent_dim, learned)
        self.formula = "Laplace(loc, scale), learned" if learned else "Laplace(0, 1)"

    def family(self, loc: Tensor, scale: Tensor) -> TorchDistributionMixin:
        """Independent Laplace variables."""
        return dist.Laplace(loc, scale)
