"""Means of p(x | z), at latents of data or of the prior."""

from __future__ import annotations

from pyro import poutine
from torch import Tensor

from pyrovae.compute.modes import evaluating
from pyrovae.data import Batch
from pyrovae.errors import SpecError
from pyrovae.programs.autoencoder import Autoencoder, trace_at_centers
from pyrovae.programs.observed_values import means_of_x, observations, places, require_x


def reconstruct(autoencoder: Autoencoder, batch: Batch | Tensor) -> Tensor:
    """Means of p(x | z) at the means of q(z | x), in the shape of the data.

    Raises:
        SpecError: No site observes ``x``, or one has no mean.
    """
    batch = Batch.of(batch)
    autoencoder.require_prepared(batch.x)
    with evaluating(autoencoder, batch.device):
        return means_of_x(trace_at_centers(autoencoder, batch.variables), batch)


def prior_means(autoencoder: Autoencoder, batch: Batch | Tensor) -> Tensor:
    """Means of p(x | z) at draws from the prior, one for each observation of ``x``.

    Raises:
        SpecError: No site observes ``x``, or one has no mean.
    """
    batch = Batch.of(batch)
    with evaluating(autoencoder, batch.device):
        return means_of_x(poutine.trace(autoencoder.model).get_trace(**batch.variables), batch)


def why_no_means(autoencoder: Autoencoder, batch: Batch | Tensor) -> str:
    """Reason why p(x | z) has no means in the shape of the data; empty if it has."""
    batch = Batch.of(batch)
    with evaluating(autoencoder, batch.device):
        trace = poutine.trace(autoencoder.model).get_trace(**batch.variables)
    try:
        found = places(observations(trace), batch)
        require_x({place.variable: place for place in found.values()})
    except SpecError as error:
        return str(error)
    return ""
