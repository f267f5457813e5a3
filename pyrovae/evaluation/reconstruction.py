"""Means of p(x | z), at latents of data or of the prior."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from pyro import poutine
from pyro.poutine.trace_struct import Trace
from torch import Tensor

from pyrovae.compute.modes import evaluating
from pyrovae.data import Batch
from pyrovae.errors import SpecError
from pyrovae.programs.autoencoder import Autoencoder, center
from pyrovae.programs.traces import Site, observed_sites, sites_by_role


def reconstruct(autoencoder: Autoencoder, batch: Batch | Tensor) -> Tensor:
    """Means of p(x | z) at the means of q(z | x), in the shape of the data.

    Raises:
        SpecError: No site observes all of the data; see :func:`data_site`.
    """
    batch = Batch.of(batch)
    with evaluating(autoencoder, batch.device):
        guide = poutine.trace(autoencoder.guide).get_trace(**batch.variables)
        for site in sites_by_role(guide, "latent").values():
            site["value"] = center(site["fn"], site["value"])
        replayed = poutine.replay(autoencoder.model, trace=guide)
        return _mean_of_data(poutine.trace(replayed).get_trace(**batch.variables), batch)


def prior_means(autoencoder: Autoencoder, batch: Batch | Tensor) -> Tensor:
    """Means of p(x | z) at draws from the prior, one for each observation of ``x``.

    Raises:
        SpecError: No site observes all of the data; see :func:`data_site`.
    """
    batch = Batch.of(batch)
    with evaluating(autoencoder, batch.device):
        return _mean_of_data(poutine.trace(autoencoder.model).get_trace(**batch.variables), batch)


def data_site(trace: Trace, x: Tensor) -> str:
    """Name of the first site that observes all numbers of the data ``x``.

    Raises:
        SpecError: There is none: sites observe parts of the data each, or p(x | z) is a
            ``pyro.factor``, which is only a density.
    """
    observed = observed_sites(trace)
    nodes = cast(Mapping[str, Site], trace.nodes)
    found = [name for name in observed if nodes[name]["value"].numel() == x.numel()]
    if found:
        return found[0]
    why = (
        f"sites {', '.join(observed)} observe parts of the data each"
        if observed
        else "the model has a density of the data, a factor, and no distribution of them"
    )
    raise SpecError(f"{why}: means and draws of the data need one site with obs=x")


def why_no_means(autoencoder: Autoencoder, batch: Batch | Tensor) -> str:
    """Reason why p(x | z) has no means in the shape of the data; empty if it has."""
    batch = Batch.of(batch)
    with evaluating(autoencoder, batch.device):
        trace = poutine.trace(autoencoder.model).get_trace(**batch.variables)
    try:
        data_site(trace, batch.x)
    except SpecError as error:
        return str(error)
    return ""


def _mean_of_data(trace: Trace, batch: Batch) -> Tensor:
    site: Site = trace.nodes[data_site(trace, batch.x)]
    mean: Tensor = site["fn"].mean
    return mean.reshape(batch.x.shape)
