"""Log-densities and sums of them whose digits float32 would lose, computed in float64."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import pyro.distributions as dist
import torch
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor


def in_float64(formula: Callable[..., Tensor], *values: Tensor) -> Tensor:
    """``formula(*values)`` computed in float64, of the type of the values.

    Float32 has 7 digits, and at a count of 1e6 the logarithm of its factorial is 1e7, of which a
    log-probability leaves 10: none of its digits would be right.
    """
    dtype = reduce(torch.promote_types, (value.dtype for value in values))
    return formula(*(value.double() for value in values)).to(dtype)


class SummedInFloat64(TorchDistributionMixin):
    """Mixin for densities of one value, whose sum over an observation is rounded only once."""

    def to_event(self, reinterpreted_batch_ndims: int | None = None) -> TorchDistributionMixin:
        """The density of all values of an observation together."""
        given = reinterpreted_batch_ndims
        ndims = len(self.batch_shape) if given is None else given
        return IndependentInFloat64(self, ndims) if ndims else self


class IndependentInFloat64(dist.Independent):
    """Independent values: a thousand log-densities of 10 nats keep their fourth decimal."""

    def log_prob(self, value: Tensor) -> Tensor:
        """Sum of the log-densities of the values, in nats."""
        each = self.base_dist.log_prob(value)
        dims = tuple(range(-self.reinterpreted_batch_ndims, 0))
        return each.sum(dims, dtype=torch.float64).to(each.dtype)
