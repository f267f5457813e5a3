"""Data simulated from the model."""

from __future__ import annotations

from typing import NamedTuple

import torch
from pyro import poutine
from torch import Tensor

from pyrovae.compute.randomness import seeded
from pyrovae.data import Batch
from pyrovae.data.batch import KNOWN, X_KNOWN
from pyrovae.programs.autoencoder import Autoencoder
from pyrovae.programs.enumeration import can_enumerate
from pyrovae.programs.observed_values import drawn_anew, filled_in, is_hidden, observations
from pyrovae.programs.plates import Plates
from pyrovae.programs.traces import missing_values, sites_by_role


class Simulated(NamedTuple):
    """Data simulated from the model, with the latents that generated them.

    Attributes:
        z: Latents from p(z), ``(data, dims)``; given x, an exact draw from p(z | x).
        batch: Data from p(x | z); what no site observes, or a mask hides, is as it was.
        drawn: Names of the variables that were drawn.
    """

    z: Tensor
    batch: Batch
    drawn: tuple[str, ...]

    @property
    def x(self) -> Tensor:
        """The simulated observations ``(data, *shape)``."""
        return self.batch.x


def simulate(autoencoder: Autoencoder, like: Batch | Tensor) -> Simulated:
    """Simulate as many observations as there are in ``like``.

    Args:
        autoencoder: Model and guide.
        like: Data of the same shape, from which all is taken that no site observes, such as
            covariates; but what is a latent is known of none: where ``y`` is a latent,
            ``y_known`` is false.

    Raises:
        SpecError: A site observes what is not part of a variable.
    """
    like = _without_labels(autoencoder, Batch.of(like))
    with torch.no_grad():
        model = poutine.uncondition(autoencoder.model)
        trace = poutine.trace(model).get_trace(**like.variables)
    seen = observations(trace)
    sites = sites_by_role(trace, "latent")
    latent = [name for name in sites if name not in [*missing_values(trace), *seen]]
    if any(can_enumerate(sites[name]["fn"]) for name in latent):
        with torch.no_grad(), seeded(0, like.device):  # the model alone may draw some of them
            latent = autoencoder.traces(like[:2]).latent
    plates = Plates.of(trace, count=len(like))
    codes = [plates.vectors(sites[name])[0] for name in latent]
    seen = {name: site for name, site in seen.items() if not is_hidden(site)}
    drawn = filled_in(seen, {name: drawn_anew(site) for name, site in seen.items()}, like)
    tensors = {name: tensor.to(like.variables[name].dtype) for name, tensor in drawn.items()}
    x, *others = (tensors.get(name, tensor) for name, tensor in like.variables.items())
    return Simulated(torch.cat(codes, dim=-1), like.rebuilt([x, *others]), tuple(drawn))


def _without_labels(autoencoder: Autoencoder, batch: Batch) -> Batch:
    """The batch in which no value of a latent is known."""
    if all(name == X_KNOWN or not name.endswith(KNOWN) for name in batch.others):
        return batch
    with torch.no_grad(), seeded(0, batch.device):
        return batch.unlabelled(autoencoder.traces(batch[:2]).latent)
