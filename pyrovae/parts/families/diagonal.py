"""Normal with independent latent dimensions."""

from __future__ import annotations

import pyro.distributions as dist
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor

from pyrovae.parts.families.location_scale import LocationScaleFamily


class DiagonalNormal(LocationScaleFamily):
    r"""Normal with a diagonal covariance, both parameters linear in the features.

    .. math::
        p(z \mid h) = \mathcal{N}(z \mid \mu(h), \operatorname{diag} \sigma(h)^2)

    Args:
        features: Length of the feature vector.
        dims: Length of the latent.

    Example:
        >>> import torch
        >>> DiagonalNormal(features=8, dims=2)(torch.zeros(5, 8))
        Independent(Normal(loc: torch.Size([5, 2]), scale: torch.Size([5, 2])), 1)

    References:
        Kingma and Welling (2014), *Auto-Encoding Variational Bayes*, arXiv:1312.6114.
    """

    formula = "Normal(loc(h), diag scale(h)²)"

    def around(self, loc: Tensor, scale: Tensor, features: Tensor) -> TorchDistributionMixin:
        """Independent dimensions."""
        return dist.Normal(loc, scale).to_event(1)
