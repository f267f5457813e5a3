"""Laplace with independent latent dimensions."""

from __future__ import annotations

import pyro.distributions as dist
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor

from pyrovae.parts.families.location_scale import LocationScaleFamily


class LaplaceFamily(LocationScaleFamily):
    r"""Independent Laplace variables, both parameters linear in the features.

    .. math::
        p(z \mid h) = \prod_d \frac{1}{2 b_d(h)}
        \exp \Big( -\frac{|z_d - \mu_d(h)|}{b_d(h)} \Big)

    Args:
        features: Length of the feature vector.
        dims: Length of the latent.

    References:
        Kingma and Welling (2014), *Auto-Encoding Variational Bayes*, arXiv:1312.6114, section
        2.4, which names it among the families that can be reparameterised.
    """

    formula = "Laplace(loc(h), scale(h))"

    def around(self, loc: Tensor, scale: Tensor, features: Tensor) -> TorchDistributionMixin:
        """Independent dimensions."""
        return dist.Laplace(loc, scale).to_event(1)
