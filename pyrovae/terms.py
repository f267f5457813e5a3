"""The evidence lower bound taken apart: reconstruction and KL, per datum, at β = 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from pyro.poutine.trace_struct import Trace
from torch import Tensor

from pyrovae.autoencoder import Site, latent_sites, observed_sites
from pyrovae.errors import SpecError
from pyrovae.kl import Kind, exact_kl, exact_kl_per_dim, kl_kind


class Terms(NamedTuple):
    r"""Per datum, in nats and in float64, whatever β was optimised.

    .. math::
        \text{ELBO}(x) = \underbrace{\mathbb{E}_q \log p(x \mid z)}_{\text{reconstruction}}
        - \underbrace{\mathbb{E}_q \log \frac{q(z \mid x)}{p(z)}}_{\text{KL}}

    The expectation over q is taken at one draw, except for a KL that has a closed form.

    Attributes:
        reconstruction: ``(data,)``, summed over the observed sites.
        kl: ``(data,)`` for each latent site.
        kl_per_dim: ``(data, dims)`` for each site whose KL is a sum over its dimensions.
        kl_kind: For each latent site, whether its KL is exact or sampled; or "point", where
            the guide is a point and ``kl`` is -log p(z).
    """

    reconstruction: Tensor
    kl: dict[str, Tensor]
    kl_per_dim: dict[str, Tensor]
    kl_kind: dict[str, Kind]

    @property
    def total_kl(self) -> Tensor:
        """KL over all latent sites, ``(data,)``."""
        return sum(self.kl.values(), torch.zeros_like(self.reconstruction))

    @property
    def elbo(self) -> Tensor:
        """The bound at β = 1, ``(data,)``."""
        return self.reconstruction - self.total_kl


def terms(model: Trace, guide: Trace, count: int) -> Terms:
    """The terms of the bound from one run of guide and model.

    Args:
        model: Trace of the model, with log-densities.
        guide: Trace of the guide, with log-densities.
        count: Number of data in the batch.

    Raises:
        SpecError: A site's log-density is not one number per datum.
    """
    kl, kl_per_dim, kinds = {}, {}, {}
    for name in latent_sites(model):
        q: Site = guide.nodes[name]
        p: Site = model.nodes[name]
        per_dim = exact_kl_per_dim(q["fn"], p["fn"])
        if per_dim is not None:
            exact: Tensor | None = per_dim
            kl_per_dim[name] = _per_datum(per_dim, count, name, event_dim=1)
            kl[name] = kl_per_dim[name].sum(-1)
        else:
            exact = exact_kl(q["fn"], p["fn"])
            # The densities need not have been computed where there is a closed form.
            value = q["unscaled_log_prob"] - p["unscaled_log_prob"] if exact is None else exact
            kl[name] = _per_datum(value, count, name)
        kinds[name] = kl_kind(q["fn"], exact)
    observed = [_per_datum(_log_prob(model, name), count, name) for name in observed_sites(model)]
    return Terms(sum(observed[1:], observed[0]), kl, kl_per_dim, kinds)


def average(parts: Sequence[Terms]) -> Terms:
    """The mean of the terms of several particles."""
    if len(parts) == 1:
        return parts[0]
    return Terms(
        torch.stack([part.reconstruction for part in parts]).mean(0),
        {k: torch.stack([part.kl[k] for part in parts]).mean(0) for k in parts[0].kl},
        {k: torch.stack([p.kl_per_dim[k] for p in parts]).mean(0) for k in parts[0].kl_per_dim},
        parts[0].kl_kind,
    )


def _log_prob(trace: Trace, name: str) -> Tensor:
    return trace.nodes[name]["unscaled_log_prob"]


def _per_datum(value: Tensor, count: int, name: str, event_dim: int = 0) -> Tensor:
    """A site's values with one row per datum: particles, to the left of the data, averaged."""
    data_dim = value.ndim - 1 - event_dim
    if data_dim < 0 or value.shape[data_dim] != count:
        raise SpecError(
            f"site '{name}' has log-density of shape {tuple(value.shape)} for a batch of {count}: "
            'draw it inside pyro.plate("data", len(x)), and close the data\'s own dimensions '
            "with .to_event()"
        )
    value = value.detach().double()
    return value.flatten(0, data_dim - 1).mean(0) if data_dim else value
