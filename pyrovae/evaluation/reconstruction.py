"""Means of p(x | z), at latents of data or of the prior."""

from __future__ import annotations

from pyro import poutine
from pyro.poutine.trace_struct import Trace
from torch import Tensor

from pyrovae.compute.modes import evaluating
from pyrovae.programs.autoencoder import Autoencoder, center
from pyrovae.programs.traces import Site, observed_sites, sites_by_role


def reconstruct(autoencoder: Autoencoder, x: Tensor) -> Tensor:
    """Means of p(x | z) at the means of q(z | x), for the first observed site."""
    with evaluating(autoencoder, x.device):
        guide = poutine.trace(autoencoder.guide).get_trace(x)
        for site in sites_by_role(guide, "latent").values():
            site["value"] = center(site["fn"], site["value"])
        replayed = poutine.replay(autoencoder.model, trace=guide)
        return _observed_mean(poutine.trace(replayed).get_trace(x))


def prior_means(autoencoder: Autoencoder, x: Tensor) -> Tensor:
    """Means of p(x | z) at draws from the prior, one for each observation of ``x``."""
    with evaluating(autoencoder, x.device):
        return _observed_mean(poutine.trace(autoencoder.model).get_trace(x))


def has_observed_site(autoencoder: Autoencoder, x: Tensor) -> bool:
    """True if p(x | z) is a distribution at some site; a ``pyro.factor`` is only a density."""
    with evaluating(autoencoder, x.device):
        return bool(observed_sites(poutine.trace(autoencoder.model).get_trace(x)))


def _observed_mean(trace: Trace) -> Tensor:
    """The mean at the first observed site."""
    site: Site = trace.nodes[observed_sites(trace)[0]]
    return site["fn"].mean
