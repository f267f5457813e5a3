"""Laplace likelihood for real-valued data with outliers."""

from __future__ import annotations

import pyro.distributions as dist
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor

from pyrovae.parts.likelihoods.location_scale import LocationScaleLikelihood


class LaplaceLikelihood(LocationScaleLikelihood):
    r"""Independent real values with double-exponential noise.

    .. math::
        p(x \mid z) = \prod_i \frac{1}{2 \sigma_i}
            \exp\left(-\frac{|x_i - m_i - s_i f_i(z)|}{\sigma_i}\right)

    An error costs its absolute value, not its square, so that a few large errors have less
    influence. The standard deviation is :math:`\sqrt 2 \, \sigma`. Arguments, :math:`m`, :math:`s`
    and :math:`\sigma`: :class:`~pyrovae.parts.likelihoods.location_scale.LocationScaleLikelihood`.

    References:
        Kotz, Kozubowski and Podgórski (2001), *The Laplace Distribution and Generalizations*,
        doi:10.1007/978-1-4612-0173-1.
    """

    family = "Laplace"
    advice = "finite numbers only: remove or fill in the others"

    def density(self, loc: Tensor, scale: Tensor) -> TorchDistributionMixin:
        """Laplace with mean absolute deviation ``scale``."""
        return dist.Laplace(loc, scale)
