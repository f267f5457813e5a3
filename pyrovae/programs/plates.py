"""The plates of Pyro programs: the dimensions of a log-density and their meaning."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from pyro.poutine.trace_struct import Trace
from torch import Tensor

from pyrovae.errors import SpecError
from pyrovae.programs.traces import Site, density_sites

DRAWS = "_draws"  # the plate around a program that makes many draws at once
PARTICLE_PLATES = (DRAWS, "num_particles_vectorized")  # the second is Pyro's


class Plates(NamedTuple):
    """The place of observations and particles among the dimensions of a log-density.

    Attributes:
        data: Dimension of the observations, from the right; None if not all sites are in one
            plate, when a whole draw counts as one observation.
        size: Number of observations in the batch.
        name: Name of their plate.
        subsampling: Number of observations of the data that each of them stands for.
        particles: Dimension of the particles, from the right; None if they are in no plate.
    """

    data: int | None
    size: int
    name: str
    subsampling: float
    particles: int | None

    @classmethod
    def of(cls, *traces: Trace, count: int | None = None) -> Plates:
        """Find the plates around the sites of programs that are run together.

        The observations are in the outermost plate that holds every site.

        Args:
            traces: One trace of each program.
            count: Number of observations, if every site has to be in their plate.

        Raises:
            SpecError: Some site is in no plate of ``count`` observations; names it.
        """
        sites = [named for trace in traces for named in density_sites(trace).items()]
        frames = [_frames(site) for _, site in sites]
        shared = [
            frame
            for frame in (frames[0] if frames else [])
            if frame.name not in PARTICLE_PLATES
            and count in (None, _size(frame, sites))
            and all(_holds(others, frame) for others in frames)
        ]
        if count is not None and not shared:
            raise _outside(sites, count)
        data = shared[0] if shared else None
        particles = [f.dim for around in frames for f in around if f.name in PARTICLE_PLATES]
        return cls(
            data.dim if data else None,
            _size(data, sites) if data else 1,
            data.name if data else "",
            subsampling([data]) if data else 1.0,
            particles[0] if particles else None,
        )

    def per_observation(self, value: Tensor, event_dim: int = 0) -> Tensor:
        """Sum over all plates but those of particles and observations.

        Args:
            value: ``(*batch, *event)``, as the programs have it.
            event_dim: Number of dimensions of an event.

        Returns:
            ``(particles, data, *event)``.
        """
        kept = [dim for dim in (self.particles, self.data) if dim is not None]
        rank = max([value.ndim - event_dim, *(-dim for dim in kept)])
        value = value.reshape((1,) * (rank + event_dim - value.ndim) + value.shape)
        inside = [dim - event_dim for dim in range(-rank, 0) if dim not in kept]
        if inside:
            value = value.sum(inside)
        if self.data is None:
            value = value.unsqueeze(-1 - event_dim)
        if self.particles is None:
            value = value.unsqueeze(-2 - event_dim)
        data = -1 - event_dim
        if value.shape[data] != self.size:  # a density that is the same for all of them
            shape = list(value.shape)
            shape[data] = self.size
            value = value.expand(shape)
        return value

    def spread(self, value: Tensor, batch: Sequence[int]) -> Tensor:
        """Broadcast numbers ``(particles, data)`` to the dimensions of a site's batch shape."""
        shape = [1] * len(batch)
        for dim, size in ((self.particles, value.shape[0]), (self.data, value.shape[1])):
            if dim is not None:
                shape[dim] = size
        return value.reshape(shape)

    def vectors(self, site: Site) -> Tensor:
        """A site's value as one vector for each observation, ``(particles, data, numbers)``."""
        value: Tensor = site["value"]
        rank = value.ndim - site["fn"].event_dim
        kept = [rank + dim for dim in (self.particles, self.data) if dim is not None]
        value = value.movedim(kept, list(range(len(kept))))
        value = value.reshape(*value.shape[: len(kept)], -1)
        return value if self.particles is not None else value.unsqueeze(0)

    def inner_scale(self, site: Site) -> float:
        """The factor by which the plates inside that of the data are subsampled."""
        frames = site["cond_indep_stack"]
        return subsampling(f for f in frames if self.data is None or f.dim != self.data)


def subsampling(frames: Iterable[Any]) -> float:
    """Factor by which Pyro scales the sites in subsampled plates."""
    return math.prod(((f.full_size or f.size) / f.size for f in frames), start=1.0)


def _frames(site: Site) -> list[Any]:
    """Vectorised plates around a site, outermost first."""
    return [frame for frame in site["cond_indep_stack"] if frame.vectorized]


def _holds(frames: Iterable[Any], wanted: Any) -> bool:
    """Return True if a plate is among others; model and guide may give it different names."""
    return any(
        frame.dim == wanted.dim and (frame.size == wanted.size or -1 in (frame.size, wanted.size))
        for frame in frames
    )


def _size(frame: Any, sites: list[tuple[str, Site]]) -> int:
    """Number of elements of a plate; of ``pyro.plate("data")``, that its sites have."""
    if frame.size >= 0:
        return int(frame.size)
    shapes = [site["fn"].batch_shape for _, site in sites if _holds(_frames(site), frame)]
    return max((shape[frame.dim] for shape in shapes if len(shape) >= -frame.dim), default=1)


def _outside(sites: list[tuple[str, Site]], count: int) -> SpecError:
    """Return the error about the first site that is in no plate of the data."""
    apart = [named for named in sites if all(f.size not in (-1, count) for f in _frames(named[1]))]
    name, site = (apart or sites)[0]
    shape = tuple(site["fn"].batch_shape)
    common = not site["is_observed"] and not _frames(site)
    return SpecError(
        f"site '{name}' has log-density of shape {shape} for a batch of {count}: draw it inside "
        'pyro.plate("data", len(x)), which has to be the same plate for all sites, and close the '
        "data's own dimensions with .to_event()"
        + ("; what all data have in common is a pyro.param, not a latent" if common else "")
    )
