"""Means of p(x | z), at latents of data or of the prior."""

from __future__ import annotations

from pyro import poutine
from pyro.poutine.trace_struct import Trace
from torch import Tensor

from pyrovae.compute.modes import evaluating
from pyrovae.data import Batch
from pyrovae.errors import SpecError
from pyrovae.programs.autoencoder import Autoencoder, trace_at_centers
from pyrovae.programs.traces import Site, data_site


def reconstruct(autoencoder: Autoencoder, batch: Batch | Tensor) -> Tensor:
    """Means of p(x | z) at the means of q(z | x), in the shape of the data.

    Raises:
        SpecError: No site observes all of the data; see :func:`data_site`.
    """
    batch = Batch.of(batch)
    with evaluating(autoencoder, batch.device):
        return _mean_of_data(trace_at_centers(autoencoder, batch.variables), batch)


def prior_means(autoencoder: Autoencoder, batch: Batch | Tensor) -> Tensor:
    """Means of p(x | z) at draws from the prior, one for each observation of ``x``.

    Raises:
        SpecError: No site observes all of the data; see :func:`data_site`.
    """
    batch = Batch.of(batch)
    with evaluating(autoencoder, batch.device):
        return _mean_of_data(poutine.trace(autoencoder.model).get_trace(**batch.variables), batch)


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
