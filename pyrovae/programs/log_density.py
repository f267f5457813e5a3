"""Log-density of a site: in float64, with its masks applied."""

from __future__ import annotations

from typing import Any

import torch
from pyro.distributions import MaskedDistribution
from torch import Tensor
from torch.distributions import Independent

from pyrovae.programs.plates import Plates
from pyrovae.programs.traces import Site

Mask = Tensor | bool | None


def log_density(site: Site) -> Tensor:
    """Log-density of a site in nats, float64 with its batch shape; masked but not scaled.

    Values are computed in the program's own precision and summed in double precision, since a
    large image has thousands of them. Masked values have no effect, not even as NaN.
    """
    fn, value, mask = site["fn"], site["value"], site["mask"]
    if site["is_observed"]:
        value = filled(value, mask, fn.event_dim)
    return masked(log_prob_of(fn, value).double(), mask)


def log_prob_of(fn: Any, value: Tensor) -> Tensor:
    """Log-density summed over an event in double precision, with inner masks applied."""
    if isinstance(fn, Independent):
        log_prob, event = log_prob_of(fn.base_dist, value), fn.reinterpreted_batch_ndims
        return log_prob.sum([*range(-event, 0)], dtype=torch.float64) if event else log_prob
    if isinstance(fn, MaskedDistribution):
        value = filled(value, fn._mask, fn.event_dim)
        return masked(log_prob_of(fn.base_dist, value), fn._mask)
    return fn.log_prob(value)


def masked(value: Tensor, mask: Mask, event_dim: int = 0) -> Tensor:
    """Replace values ``(*batch, *event)`` by zero outside a mask ``(*batch,)``."""
    if mask is None or mask is True:
        return value
    if mask is False:
        return torch.zeros_like(value)
    mask = mask.bool()
    return torch.where(mask.reshape(mask.shape + (1,) * event_dim), value, 0.0)


def filled(value: Tensor, mask: Mask, event_dim: int) -> Tensor:
    """Replace each masked value by some unmasked one.

    So a placeholder outside the support, or a NaN, leaves no NaN in a gradient.
    """
    if not isinstance(mask, Tensor):
        return value
    batch = torch.broadcast_shapes(mask.shape, value.shape[: value.ndim - event_dim])
    event = value.shape[value.ndim - event_dim :]
    mask = mask.bool().expand(batch)
    value = value.expand(batch + event)
    first = mask.reshape(-1).int().argmax().reshape(1)  # a number could not be captured
    shown = value.reshape(-1, *event).index_select(0, first)[0].nan_to_num()
    return torch.where(mask.reshape(batch + (1,) * event_dim), value, shown)


def present(mask: Mask, plates: Plates) -> Tensor | None:
    """True where some of an observation is not masked, ``(particles, data)``."""
    if mask is None or mask is True:
        return None
    shown = torch.zeros(()) if mask is False else mask.double()
    return plates.per_observation(shown) > 0
