"""Normal whose latent dimensions are correlated along a few directions."""

from __future__ import annotations

import math
from typing import Any

import pyro.distributions as dist
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor, nn
from torch.distributions import Independent, LowRankMultivariateNormal, Normal, register_kl

from pyrovae.errors import SpecError
from pyrovae.parts.families.abstract import Head
from pyrovae.parts.families.location_scale import LocationScaleFamily


class LowRankNormal(LocationScaleFamily):
    r"""Normal whose covariance is a diagonal plus a matrix of low rank.

    .. math::
        p(z \mid h) = \mathcal{N}(z \mid \mu(h), \operatorname{diag} \sigma(h)^2
        + V(h) V(h)^\top), \qquad V(h) = \operatorname{diag} \sigma(h)\, B(h)

    :math:`B`, ``dims`` × ``rank``, is in units of the scale of its row, so that an error
    of the network in it does no more harm to a narrow distribution than to a wide one. It starts
    small and random: at :math:`B = 0` the expected gradient to it vanishes, since the covariance
    is even in it, and columns that start alike would stay alike.

    Args:
        features: Length of the feature vector.
        dims: Length of the latent.
        rank: Number of columns of :math:`V`.

    Raises:
        SpecError: The rank is above the length of the latent.

    Example:
        >>> import torch
        >>> LowRankNormal(features=8, dims=3, rank=1)(torch.zeros(5, 8)).cov_factor.shape
        torch.Size([5, 3, 1])

    References:
        Ong, Nott and Smith (2018), *Gaussian Variational Approximation with a Factor Covariance
        Structure*, arXiv:1701.03208.
    """

    formula = "Normal(loc(h), diag scale(h)² + V(h) V(h)ᵀ)"

    def __init__(self, features: int, dims: int, rank: int = 2) -> None:
        if rank > dims:
            raise SpecError(
                f"rank = {rank}: more than the length of the latent, {dims}, adds nothing; choose "
                "a smaller rank, or 'full_rank'"
            )
        super().__init__(features, dims)
        self.rank = rank
        self.factor = Head(features, dims * rank)
        nn.init.zeros_(self.factor.weight)
        nn.init.normal_(self.factor.bias, std=0.1)  # a hundredth of the variance

    def around(self, loc: Tensor, scale: Tensor, features: Tensor) -> TorchDistributionMixin:
        """Dimensions correlated along the columns of V."""
        factor = self.factor(features).unflatten(-1, (self.dims, self.rank))
        return dist.LowRankMultivariateNormal(loc, scale.unsqueeze(-1) * factor, scale.square())


@register_kl(LowRankMultivariateNormal, Independent)  # type: ignore[untyped-decorator]
def _kl_low_rank_diagonal(q: LowRankMultivariateNormal, p: Independent[Any]) -> Tensor:
    r"""KL to a normal of independent dimensions, which torch does not have.

    .. math::
        -\operatorname{H}(q) + \sum_d \Big[ \frac{\Sigma_{dd} + (\mu_d - m_d)^2}{2 s_d^2}
        + \log s_d + \frac12 \log 2 \pi \Big]
    """
    if not isinstance(p.base_dist, Normal) or p.reinterpreted_batch_ndims != 1:
        raise NotImplementedError
    loc, scale = p.base_dist.loc, p.base_dist.scale
    squares = (q.variance + (q.loc - loc).square()) / (2 * scale.square())
    cross_entropy = (squares + scale.log() + 0.5 * math.log(2 * math.pi)).sum(-1)
    return cross_entropy - q.entropy()
