"""Normal likelihood for real-valued data."""

from __future__ import annotations

import pyro.distributions as dist
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor

from pyrovae.parts.likelihoods.location_scale import LocationScaleLikelihood


class NormalLikelihood(LocationScaleLikelihood):
    r"""Independent real values with normal noise.

    .. math::
        p(x \mid z) = \prod_i \mathcal{N}(x_i \mid m_i + s_i f_i(z), \sigma_i^2)

    Arguments, :math:`m`, :math:`s` and :math:`\sigma`:
    :class:`~pyrovae.parts.likelihoods.location_scale.LocationScaleLikelihood`.

    References:
        Kingma and Welling (2014), *Auto-Encoding Variational Bayes*, arXiv:1312.6114,
        appendix C.2; Rybkin et al. (2021), *Simple and Effective VAE Training with Calibrated
        Decoders*, arXiv:2006.13202, for the learned scale.
    """

    family = "Normal"
    advice = "finite numbers only: remove or fill in the others"

    def density(self, loc: Tensor, scale: Tensor) -> TorchDistributionMixin:
        """Normal with standard deviation ``scale``."""
        return dist.Normal(loc, scale)
