"""Normal guide whose latent dimensions are correlated along a few directions."""

from __future__ import annotations

import math
from typing import Any

import pyro.distributions as dist
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor, nn
from torch.distributions import Independent, LowRankMultivariateNormal, Normal, register_kl

from pyrovae.errors import SpecError
from pyrovae.guides.location_scale import LocationScaleGuide
from pyrovae.networks import Encoder


class LowRankGuide(LocationScaleGuide):
    r"""Normal whose covariance is a diagonal plus a matrix of low rank.

    .. math::
        q(z \mid x) = \mathcal{N}(z \mid \mu(x), \operatorname{diag} \sigma(x)^2
        + V(x) V(x)^\top), \qquad V(x) = \operatorname{diag} \sigma(x)\, B(x)

    :math:`B`, ``latent_dim`` × ``rank``, is in units of the scale of its row, so that an error
    of the network in it does no more harm to a narrow posterior than to a wide one. It starts
    small and random: at :math:`B = 0` the expected gradient to it vanishes, since the covariance
    is even in it, and columns that start alike would stay alike.

    Args:
        encoder: Network from data to features.
        latent_dim: Length of the code.
        rank: Number of columns of :math:`V`.

    Raises:
        SpecError: The rank is above the length of the code.

    Example:
        >>> import torch
        >>> from pyrovae.networks import MLPEncoder
        >>> guide = LowRankGuide(MLPEncoder((16,), widths=[8]), latent_dim=3, rank=1)
        >>> guide(torch.zeros(5, 16)).cov_factor.shape
        torch.Size([5, 3, 1])

    References:
        Ong, Nott and Smith (2018), *Gaussian Variational Approximation with a Factor Covariance
        Structure*, arXiv:1701.03208.
    """

    formula = "Normal(loc(x), diag scale(x)² + V(x) V(x)ᵀ)"

    def __init__(self, encoder: Encoder, latent_dim: int, rank: int = 2) -> None:
        if rank > latent_dim:
            raise SpecError(
                f"inference.guide.rank = {rank}: more than the length of the code, "
                f"{latent_dim}, adds nothing; choose a smaller rank, or inference.guide.kind "
                "'full_rank'"
            )
        super().__init__(encoder, latent_dim)
        self.rank = rank
        self.factor = nn.Linear(encoder.features, latent_dim * rank)
        nn.init.zeros_(self.factor.weight)
        nn.init.normal_(self.factor.bias, std=0.1)  # a hundredth of the variance

    def family(self, loc: Tensor, scale: Tensor, features: Tensor) -> TorchDistributionMixin:
        """Dimensions correlated along the columns of V."""
        factor = self.factor(features).unflatten(-1, (self.latent_dim, self.rank))
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
