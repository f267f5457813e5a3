"""Closed forms of the KL between two distributions, where they exist."""

from __future__ import annotations

from typing import Any, Literal

import pyro.distributions as dist
import torch
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

Kind = Literal["exact", "sampled", "point"]


def exact_kl(q: TorchDistributionMixin, p: TorchDistributionMixin) -> Tensor | None:
    """KL(q, p) in nats with q's batch shape, or None if no closed form is registered."""
    per_dim = exact_kl_per_dim(q, p)
    if per_dim is not None:
        return per_dim.sum(-1)
    return _closed_form(q, p)


def exact_kl_per_dim(q: TorchDistributionMixin, p: TorchDistributionMixin) -> Tensor | None:
    """KL(q, p) for each dimension, ``(*batch, dims)``, when both factorise over them, else None.

    A univariate distribution has one dimension.
    """
    if factorised(q, p):
        return _closed_form(q.base_dist, p.base_dist)
    if univariate(q, p) and (kl := _closed_form(q, p)) is not None:
        return kl.unsqueeze(-1)
    return None


def _closed_form(q: Any, p: Any) -> Tensor | None:
    try:
        kl = kl_divergence(q, p)
    except NotImplementedError:
        return None
    return torch.as_tensor(kl)  # Pyro has a plain zero where a mask hides all


def log_prob_per_dim(distribution: Any, value: Tensor) -> Tensor:
    """Log-density of each dimension, ``(*batch, dims)``, of a distribution that factorises."""
    if factorised(distribution):
        return distribution.base_dist.log_prob(value)
    return distribution.log_prob(value).unsqueeze(-1)


def sums_over_dims(*distributions: Any) -> bool:
    """Return True if log-densities are sums over the same dimensions."""
    return factorised(*distributions) or univariate(*distributions)


def factorised(*distributions: Any) -> bool:
    """Return True if all distributions factorise over the dimensions of a vector."""
    return all(
        isinstance(distribution, Independent) and distribution.reinterpreted_batch_ndims == 1
        for distribution in distributions
    )


def univariate(*distributions: Any) -> bool:
    """Return True if all distributions are univariate."""
    return all(distribution.event_dim == 0 for distribution in distributions)


def is_point(distribution: Any) -> bool:
    """Return True if all mass is in one point or a few, so that there is no density."""
    if isinstance(distribution, MixtureSameFamily):
        return is_point(distribution.component_distribution)
    while isinstance(distribution, Independent):
        distribution = distribution.base_dist
    return isinstance(distribution, dist.Delta)


def marginals(q: Any) -> Distribution | None:
    """Marginal distributions of the dimensions, ``(*batch, dims)``, where known."""
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
