"""q(z | x) of each observation in numbers: means, standard deviations, probabilities."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pyrovae.compute.modes import evaluating
from pyrovae.data import Batch, Dataset
from pyrovae.evaluation.angles import is_made_of_angles
from pyrovae.evaluation.batches import batches, observations
from pyrovae.parts.distributions.kl import is_point
from pyrovae.programs.autoencoder import Autoencoder, center, guide_at_centers
from pyrovae.programs.enumeration import can_enumerate
from pyrovae.programs.observed_values import shown
from pyrovae.programs.plates import Plates
from pyrovae.programs.traces import Site


class EncodedSite(NamedTuple):
    """One latent site of all observations, on the CPU; NaN where a mask hides a latent.

    Attributes:
        mean: Means, or modes of discrete latents, or draws where no mean is known,
            ``(data, dims)``.
        deviation: Standard deviations, ``(data, dims)``; None where they are not known.
        probabilities: Probabilities of the values of discrete latents, ``(data, dims, values)``;
            None where values cannot be listed.
        drawn: True if the means are draws, because none are known.
    """

    mean: Tensor
    deviation: Tensor | None
    probabilities: Tensor | None
    drawn: bool


def encode(autoencoder: Autoencoder, data: Dataset) -> dict[str, EncodedSite]:
    """Means and standard deviations of q(z | x), by latent site, in the model's order.

    A site that the guide draws after another is given the mean, or mode, of that.

    Args:
        autoencoder: Model and guide.
        data: A split, as loaded or as the model sees it.

    Raises:
        DataError: The data cannot be prepared as those that the model was fitted to.
    """
    data, device = autoencoder.contract.prepared(data), autoencoder.device
    with evaluating(autoencoder, device):
        names = autoencoder.traces(observations(data, torch.arange(1)).to(device)).latent
        parts = [encode_batch(autoencoder, batch, names) for batch in batches(data, device)]
    return join_sites(parts)


def encode_batch(
    autoencoder: Autoencoder, batch: Batch, names: Iterable[str]
) -> dict[str, EncodedSite]:
    """Latent sites of these names, of a batch on the programs' device, in their present mode."""
    autoencoder.require_prepared(batch.x)
    guide: Any = guide_at_centers(autoencoder, batch.variables)
    plates = Plates.of(guide, count=len(batch))
    return {name: _encoded(guide.nodes[name], plates) for name in names}


def join_sites(parts: Sequence[Mapping[str, EncodedSite]]) -> dict[str, EncodedSite]:
    """The latent sites of several batches, one after the other, on the CPU."""
    return {name: _joined([part[name] for part in parts]) for name in parts[0]}


def _joined(parts: list[EncodedSite]) -> EncodedSite:
    columns: Any = list(zip(*parts, strict=True))
    joined: Any = [None if c[0] is None else torch.cat(c).cpu() for c in columns[:3]]
    return EncodedSite(*joined, *[any(columns[3])])


def _encoded(site: Site, plates: Plates) -> EncodedSite:
    fn, value = site["fn"], site["value"]
    seen = shown(site).to(value.device)

    def vectors(values: Tensor) -> Tensor:
        hidden = torch.where(seen, values.to(torch.float32), torch.nan)
        return plates.vectors(site | {"value": hidden.expand(value.shape)})[0]

    spread = None if can_enumerate(fn) else deviation(fn)
    listed = can_enumerate(fn) and fn.event_dim == 0
    chances = [vectors(fn.log_prob(v).exp()) for v in fn.enumerate_support()] if listed else None
    return EncodedSite(
        vectors(value),
        None if spread is None else vectors(spread),
        None if chances is None else torch.stack(chances, -1),
        drawn=not torch.equal(center(fn), value),
    )


def deviation(fn: Any) -> Tensor | None:
    """Standard deviations of a distribution, if they are known and those of numbers on a line."""
    if is_point(fn) or is_made_of_angles(fn):
        return None
    try:
        found: Tensor = fn.variance.sqrt()
    except NotImplementedError:
        return None
    return found
