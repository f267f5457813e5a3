"""What stands around a site's log-density: the plate's scale, β, and the particles."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from pyrovae.autoencoder import Site, Traces, latent_sites, observed_sites


def plate_scale(site: Site) -> float | Tensor:
    """How many data each datum of the batch stands for; ``(data,)`` where they have weights."""
    frames = site["cond_indep_stack"]
    scale = math.prod((frame.full_size or frame.size) / frame.size for frame in frames)
    weights = site["infer"].get("data_weights")
    return scale if weights is None else scale * weights


def data_scale(trace: Traces) -> float | Tensor:
    """:func:`plate_scale` of the data."""
    return plate_scale(trace.model.nodes[observed_sites(trace.model)[0]])


def beta_of(trace: Traces) -> float | Tensor:
    """β: what the latent sites are scaled by, beside the plate."""
    site: Site = trace.guide.nodes[latent_sites(trace.guide)[0]]
    return site["scale"] / plate_scale(site)


def particle_mean(values: Iterable[Tensor], event_dim: int = 0) -> Tensor:
    """The mean over particles, ``(data, *event)``.

    Args:
        values: From each trace, ``(data, *event)`` or ``(particles, data, *event)``.
        event_dim: Number of dimensions to the right of the data.
    """
    stacked = torch.stack(list(values))
    return stacked.flatten(0, stacked.ndim - event_dim - 2).mean(0)


def codes(site: Site) -> Tensor:
    """A latent site's value as vectors, ``(*particles, data, dims)``."""
    event_dim = site["fn"].event_dim
    value: Tensor = site["value"]
    return value.flatten(value.ndim - event_dim) if event_dim else value.unsqueeze(-1)


def reconstruction(traces: Iterable[Traces]) -> Tensor:
    """Log p(x | z), ``(data,)``: the mean over particles of one draw each."""
    return particle_mean(
        torch.stack(
            [trace.model.nodes[name]["unscaled_log_prob"] for name in observed_sites(trace.model)]
        ).sum(0)
        for trace in traces
    )
