"""The KL of guide from prior: in closed form where there is one, else at the guide's draw."""

from __future__ import annotations

from typing import Any, Literal

import pyro.distributions as dist
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor
from torch.distributions import (
    Categorical,
    Distribution,
    Independent,
    LowRankMultivariateNormal,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    kl_divergence,
)

from pyrovae.autoencoder import Site

Kind = Literal["exact", "sampled", "point"]


def exact_kl(q: TorchDistributionMixin, p: TorchDistributionMixin) -> Tensor | None:
    """KL(q, p) in nats with q's batch shape, or None when nobody registered a closed form."""
    per_dim = exact_kl_per_dim(q, p)
    if per_dim is not None:
        return per_dim.sum(-1)
    try:
        return kl_divergence(q, p)
    except NotImplementedError:
        return None


def exact_kl_per_dim(q: TorchDistributionMixin, p: TorchDistributionMixin) -> Tensor | None:
    """KL(q, p) for each dimension of a vector when both factorise over it, else None."""
    if not factorised(q, p):
        return None
    try:
        return kl_divergence(q.base_dist, p.base_dist)
    except NotImplementedError:
        return None


def site_kl(q: Site, p: Site) -> Tensor:
    """KL of a latent site in nats: closed form where there is one, else at the guide's draw."""
    exact = exact_kl(q["fn"], p["fn"])
    return q["unscaled_log_prob"] - p["unscaled_log_prob"] if exact is None else exact


def site_kl_per_dim(q: Site, p: Site) -> Tensor | None:
    """As :func:`site_kl`, for each dimension; None where guide or prior does not factorise."""
    if not factorised(q["fn"], p["fn"]):
        return None
    exact = exact_kl_per_dim(q["fn"], p["fn"])
    if exact is not None:
        return exact
    return q["fn"].base_dist.log_prob(q["value"]) - p["fn"].base_dist.log_prob(q["value"])


def kl_kind(q: Any, exact: Tensor | None) -> Kind:
    """What is reported as the KL; of a point it is -log p(z), which is no KL and no bound.

    Args:
        q: The guide's distribution.
        exact: Its :func:`exact_kl` from the prior.
    """
    if is_point(q):
        return "point"
    return "sampled" if exact is None else "exact"


def factorised(*distributions: Any) -> bool:
    """Whether all are products over the dimensions of a vector."""
    return all(
        isinstance(distribution, Independent) and distribution.reinterpreted_batch_ndims == 1
        for distribution in distributions
    )


def is_point(distribution: Any) -> bool:
    """Whether all of the mass is in one point, or in a few: there is no density."""
    if isinstance(distribution, MixtureSameFamily):
        return is_point(distribution.component_distribution)
    while isinstance(distribution, Independent):
        distribution = distribution.base_dist
    return isinstance(distribution, dist.Delta)


def marginals(q: Any) -> Distribution | None:
    """The distributions of the dimensions by themselves, ``(*batch, dims)``, where known."""
    if factorised(q):
        return q.base_dist
    if isinstance(q, (MultivariateNormal, LowRankMultivariateNormal)):
        return Normal(q.loc, q.variance.sqrt())
    if isinstance(q, MixtureSameFamily) and factorised(q.component_distribution):
        weights = Categorical(logits=q.mixture_distribution.logits.unsqueeze(-2))
        components: Any = q.component_distribution
        components = components.base_dist
        if isinstance(components, Normal):
            return MixtureSameFamily(weights, Normal(components.loc.mT, components.scale.mT))
    return None
