"""Normal with correlated latent dimensions."""

from __future__ import annotations

from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor, nn
from torch.distributions import Independent, MultivariateNormal, Normal, register_kl

from pyrovae.parts.families.abstract import Head
from pyrovae.parts.families.location_scale import LocationScaleFamily


def below_diagonal(features: int, dims: int) -> Head:
    """Head for what lies below the diagonal, ``(*batch, dims * dims)``, zero at the start."""
    head = Head(features, dims * dims)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return head


def lower_triangle(scale: Tensor, below: Tensor) -> Tensor:
    r"""The factor :math:`\operatorname{diag} \sigma (I + B)`, ``(*batch, dims, dims)``.

    Args:
        scale: :math:`\sigma`, ``(*batch, dims)``.
        below: :math:`B`, ``(*batch, dims * dims)``; of it counts what is below the diagonal.
    """
    dims = scale.shape[-1]
    strict = below.unflatten(-1, (dims, dims)).tril(-1)
    return scale.diag_embed() + scale.unsqueeze(-1) * strict


class FullRankNormal(LocationScaleFamily):
    r"""Normal with a full covariance, through its lower-triangular factor.

    .. math::
        p(z \mid h) = \mathcal{N}(z \mid \mu(h), L(h) L(h)^\top), \qquad
        L(h) = \operatorname{diag} \sigma(h)\, (I + B(h))

    What lies below the diagonal, strictly lower-triangular :math:`B`, is in units of the scale
    of its row, so that an error of the network in it does no more harm to a narrow distribution
    than to a wide one; it starts at zero, as a diagonal normal.

    Args:
        features: Length of the feature vector.
        dims: Length of the latent.

    Example:
        >>> FullRankNormal(features=8, dims=3)(torch.zeros(5, 8)).scale_tril.shape
        torch.Size([5, 3, 3])

    References:
        Kingma and Welling (2019), *An Introduction to Variational Autoencoders*,
        arXiv:1906.02691, section 2.5.1.
    """

    formula = "Normal(loc(h), L(h) L(h)ᵀ)"

    def __init__(self, features: int, dims: int) -> None:
        super().__init__(features, dims)
        self.below = below_diagonal(features, dims)

    def around(self, loc: Tensor, scale: Tensor, features: Tensor) -> TorchDistributionMixin:
        """Correlated dimensions."""
        scale_tril = lower_triangle(scale, self.below(features))
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
