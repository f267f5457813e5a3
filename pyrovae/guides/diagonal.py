"""Normal guide with independent latent dimensions."""

from __future__ import annotations

import pyro.distributions as dist
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor

from pyrovae.guides.location_scale import LocationScaleGuide


class DiagonalGuide(LocationScaleGuide):
    r"""Normal with a diagonal covariance, both parameters linear in the encoder's features.

    .. math::
        q(z \mid x) = \mathcal{N}(z \mid \mu(x), \operatorname{diag} \sigma(x)^2)

    Args:
        encoder: Network from data to features.
        latent_dim: Length of the code.

    Example:
        >>> import torch
        >>> from pyrovae.networks import MLPEncoder
        >>> DiagonalGuide(MLPEncoder((16,), widths=[8]), latent_dim=2)(torch.zeros(5, 16))
        Independent(Normal(loc: torch.Size([5, 2]), scale: torch.Size([5, 2])), 1)

    References:
        Kingma and Welling (2014), *Auto-Encoding Variational Bayes*, arXiv:1312.6114.
    """

    formula = "Normal(loc(x), diag scale(x)²)"

    def family(self, loc: Tensor, scale: Tensor, features: Tensor) -> TorchDistributionMixin:
        """Independent dimensions."""
        return dist.Normal(loc, scale).to_event(1)
