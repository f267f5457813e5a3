"""Laplace guide with independent latent dimensions."""

from __future__ import annotations

import pyro.distributions as dist
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor

from pyrovae.guides.location_scale import LocationScaleGuide


class LaplaceGuide(LocationScaleGuide):
    r"""Independent Laplace variables, both parameters linear in the encoder's features.

    .. math::
        q(z \mid x) = \prod_d \frac{1}{2 b_d(x)}
        \exp \Big( -\frac{|z_d - \mu_d(x)|}{b_d(x)} \Big)

    Args:
        encoder: Network from data to features.
        latent_dim: Length of the code.

    References:
        Kingma and Welling (2014), *Auto-Encoding Variational Bayes*, arXiv:1312.6114, section
        2.4, which names it among the families that can be reparameterised.
    """

    formula = "Laplace(loc(x), scale(x))"

    def family(self, loc: Tensor, scale: Tensor, features: Tensor) -> TorchDistributionMixin:
        """Independent dimensions."""
        return dist.Laplace(loc, scale).to_event(1)
