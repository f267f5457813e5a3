"""Student's t prior."""

from __future__ import annotations

import pyro.distributions as dist
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor

from pyrovae.parts.priors.location_scale import LocationScalePrior


class StudentTPrior(LocationScalePrior):
    r"""Independent Student's t variables: tails that fall off as a power.

    .. math::
        p(z) = \prod_d \frac{\Gamma((\nu + 1) / 2)}{\Gamma(\nu / 2) \sqrt{\nu \pi} \, s_d}
        \Big( 1 + \frac{(z_d - m_d)^2}{\nu s_d^2} \Big)^{-(\nu + 1) / 2}

    Latents far from the rest cost little. As :math:`\nu \to \infty` it becomes the normal prior.

    Args:
        latent_dim: Length of the latent.
        df: Degrees of freedom :math:`\nu`, fixed. The mean exists above 1, the variance above 2.
        learned: Make location :math:`m` and scale :math:`s` parameters; otherwise 0 and 1.

    References:
        Mathieu et al. (2019), *Disentangling Disentanglement in Variational Autoencoders*,
        arXiv:1812.02833, section 5.1, with a product of Student's t as the prior.
    """

    def __init__(self, latent_dim: int, df: float = 5.0, learned: bool = False) -> None:
        super().__init__(latent_dim, learned)
        self.df = df
        where = "loc, scale), learned" if learned else "0, 1)"
        self.formula = f"StudentT({df:g}, {where}"

    def family(self, loc: Tensor, scale: Tensor) -> TorchDistributionMixin:
        """Independent Student's t variables."""
        return dist.StudentT(self.df, loc, scale)
