"""Normal guide with correlated latent dimensions."""

from __future__ import annotations

from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor, nn
from torch.distributions import Independent, MultivariateNormal, Normal, register_kl

from pyrovae.guides.location_scale import LocationScaleGuide
from pyrovae.networks import Encoder


class FullRankGuide(LocationScaleGuide):
    r"""Normal with a full covariance, through its lower-triangular factor.

    .. math::
        q(z \mid x) = \mathcal{N}(z \mid \mu(x), L(x) L(x)^\top), \qquad
        L(x) = \operatorname{diag} \sigma(x)\, (I + B(x))

    What lies below the diagonal, strictly lower-triangular :math:`B`, is in units of the scale
    of its row, so that an error of the network in it does no more harm to a narrow posterior
    than to a wide one; it starts at zero, as a diagonal guide.

    Args:
        encoder: Network from data to features.
        latent_dim: Length of the code.

    Example:
        >>> from pyrovae.networks import MLPEncoder
        >>> q = FullRankGuide(MLPEncoder((16,), widths=[8]), latent_dim=3)(torch.zeros(5, 16))
        >>> q.scale_tril.shape
        torch.Size([5, 3, 3])

    References:
        Kingma and Welling (2019), *An Introduction to Variational Autoencoders*,
        arXiv:1906.02691, section 2.5.1.
    """

    formula = "Normal(loc(x), L(x) L(x)ᵀ)"

    def __init__(self, encoder: Encoder, latent_dim: int) -> None:
        super().__init__(encoder, latent_dim)
        self.below = nn.Linear(encoder.features, latent_dim * latent_dim)
        nn.init.zeros_(self.below.weight)
        nn.init.zeros_(self.below.bias)

    def family(self, loc: Tensor, scale: Tensor, features: Tensor) -> TorchDistributionMixin:
        """Correlated dimensions."""
        below = self.below(features).unflatten(-1, (self.latent_dim, self.latent_dim)).tril(-1)
        scale_tril = scale.diag_embed() + scale.unsqueeze(-1) * below
        return dist.MultivariateNormal(loc, scale_tril=scale_tril)


@register_kl(MultivariateNormal, Independent)  # type: ignore[untyped-decorator]
def _kl_full_rank_diagonal(q: MultivariateNormal, p: Independent[Any]) -> Tensor:
    r"""KL to a normal of independent dimensions, which torch has only the other way round.

    .. math::
        \frac12 \sum_d \Big[ \frac{\sum_e L_{de}^2 + (\mu_d - m_d)^2}{s_d^2} - 1
        + 2 \log \frac{s_d}{L_{dd}} \Big]
    """
    if not isinstance(p.base_dist, Normal) or p.reinterpreted_batch_ndims != 1:
        raise NotImplementedError
    scale = p.base_dist.scale
    variance = q.scale_tril.square().sum(-1)
    distance = (q.loc - p.base_dist.loc).square()
    log_ratio = scale.log() - torch.diagonal(q.scale_tril, dim1=-2, dim2=-1).log()
    return 0.5 * ((variance + distance) / scale.square() - 1 + 2 * log_ratio).sum(-1)
