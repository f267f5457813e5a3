"""p(z | x) and q(z | x) of the observations in a batch, as functions of the latents."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import pyro
import torch
from pyro import poutine
from pyro.poutine.trace_struct import Trace
from torch import Tensor

from pyrovae.data import Batch
from pyrovae.errors import SpecError
from pyrovae.evaluation.coordinates import Coordinates, angles, coordinates, true_support
from pyrovae.programs.autoencoder import Autoencoder
from pyrovae.programs.densities import Reduced, log_densities
from pyrovae.programs.enumeration import can_enumerate, enumerated
from pyrovae.programs.observed_values import drawn_anew, filled_in, mean_of, observations, shown
from pyrovae.programs.plates import DRAWS, Plates
from pyrovae.programs.traces import (
    Site,
    density_sites,
    sites_by_role,
)


class Draws(NamedTuple):
    """Latents from the guide and their log-densities in nats, float64 ``(draws, data)``.

    Attributes:
        z: ``(draws, data, dims)``, latent sites one after the other.
        log_guide: log q(z | x).
        log_prior: log p(z).
        log_likelihood: log p(x | z).
    """

    z: Tensor
    log_guide: Tensor
    log_prior: Tensor
    log_likelihood: Tensor

    @property
    def log_weight(self) -> Tensor:
        """Log w = log p(x, z) - log q(z | x)."""
        return self.log_prior + self.log_likelihood - self.log_guide


class LocalPosterior:
    r"""Posteriors of the observations in a batch, each by itself.

    p(x, z) is exact, and p(z | x) up to the factor p(x); the guide is compared with it. β does
    not enter: a model that was fitted with a β is evaluated at β = 1.

    Latents are ``(draws, data, dims)``, latent sites one after the other, and log-densities
    float64 ``(draws, data)``: of each value in the programs' own precision, and summed in double
    precision, since a large image has thousands of values. Nothing is seeded here, nor is any
    mode set: see :func:`pyrovae.compute.modes.evaluating`.

    Args:
        autoencoder: Model and guide.
        batch: The data, on the programs' device; a tensor stands for observations alone.

    Attributes:
        batch: The data.
        shapes: Shape of each latent site for one observation.
        dims: Number of latent dimensions.
        point: Whether the guide has no density.
    """

    def __init__(self, autoencoder: Autoencoder, batch: Batch | Tensor) -> None:
        self.autoencoder = autoencoder
        self.batch = Batch.of(batch)
        autoencoder.require_prepared(self.x)
        traces = autoencoder.traces(self.batch)
        self._latent = traces.latent
        self._guide = list(density_sites(traces.guide))
        self._auxiliary = traces.auxiliary
        self._data = list(observations(traces.model))
        self._observed = list(sites_by_role(traces.model, "observed", "factor"))
        prior = {name: _site(traces.model, name)["fn"] for name in self._latent}
        guide = {name: _site(traces.guide, name)["fn"] for name in self._latent}
        self._supports = {name: true_support(prior[name], guide[name]) for name in self._latent}
        data = Plates.of(traces.model, traces.guide, count=len(self)).data
        self._places = {name: len(guide[name].batch_shape) + (data or 0) for name in self._latent}
        self.shapes = {
            name: _without(_site(traces.guide, name)["value"].shape, place)
            for name, place in self._places.items()
        }
        self._types = {name: _site(traces.guide, name)["value"].dtype for name in self._latent}
        self.dims = sum(shape.numel() for shape in self.shapes.values())
        self.point = any(traces.is_point(name) for name in self._latent)

    def __len__(self) -> int:
        """Number of observations."""
        return len(self.batch)

    @property
    def x(self) -> Tensor:
        """The observations ``(data, *shape)``."""
        return self.batch.x

    def of(self, batch: Batch) -> LocalPosterior:
        """Local posteriors of other observations; no program is run."""
        other = copy.copy(self)
        other.batch = batch
        return other

    @property
    def names(self) -> list[str]:
        """Names of the latent dimensions, such as ``z[3]``."""
        return [
            f"{name}[{i}]" for name, shape in self.shapes.items() for i in range(shape.numel())
        ]

    @property
    def coordinates(self) -> Coordinates:
        """Coordinates: the map from free points to latents.

        Raises:
            SpecError: A latent site is discrete.
        """
        return coordinates(self._supports, self.shapes)

    @property
    def angles(self) -> Tensor:
        """Mask of the latent dimensions that are angles, ``(dims,)``, equal up to full turns."""
        return angles(self._supports, self.shapes).to(self.x.device)

    @property
    def discrete(self) -> Tensor:
        """Mask of the latent dimensions that are discrete, ``(dims,)``."""
        return torch.tensor(
            [
                support.is_discrete
                for name, support in self._supports.items()
                for _ in range(self.shapes[name].numel())
            ]
        )

    @property
    def present(self) -> Tensor:
        """True for the latents of each observation that no mask hides, ``(data, dims)``.

        A masked latent has no density, and its draws mean nothing; such are those of the steps
        beyond the end of a sequence.
        """
        traces = self.autoencoder.traces(self.batch)
        plates = Plates.of(traces.model, traces.guide, count=len(self))
        columns = []
        for name in self._latent:
            site = _site(traces.guide, name)
            seen = (shown(site) & shown(_site(traces.model, name))).expand(site["value"].shape)
            columns.append(plates.vectors(site | {"value": seen})[0])
        return torch.cat(columns, -1)

    def draw(self, draws: int) -> Draws:
        """Draw latents from the guide, with all their log-densities."""
        guide = self._run(self.autoencoder.guide, draws)
        values = _values(guide, self._latent)
        model = self._run(self.autoencoder.model, draws, values, summed=True)
        return Draws(
            self._join(values, draws),
            self._log_prob(guide, self._guide, draws),
            *self._log_model(model, draws),
        )

    def draw_guide(self, draws: int) -> Tensor:
        """Draw latents from the guide alone."""
        guide = self._run(self.autoencoder.guide, draws)
        return self._join(_values(guide, self._latent), draws)

    def draw_prior(self, draws: int) -> Tensor:
        """Draw latents from the prior, independently for each observation."""
        model = self._run(self.autoencoder.model, draws)
        return self._join(_values(model, self._latent), draws)

    def log_model(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Log p(z) and log p(x | z); both differentiable."""
        model = self._run(self.autoencoder.model, len(z), self._split(z), summed=True)
        return self._log_model(model, len(z))

    def log_joint(self, z: Tensor) -> Tensor:
        """Log p(x, z); differentiable."""
        return torch.stack(self.log_model(z)).sum(0)

    def log_guide(self, z: Tensor) -> Tensor:
        """Log q(z | x) of any latents; differentiable. A flow has to be inverted for it.

        Raises:
            SpecError: The guide has auxiliary sites, which would have to be integrated out.
        """
        if self._auxiliary:
            raise SpecError(
                f"the guide has auxiliary sites, {', '.join(self._auxiliary)}, so its density at "
                "latents that it did not draw is not known: checks by importance weights need none"
            )
        guide = self._run(self.autoencoder.guide, len(z), self._split(z))
        return self._log_prob(guide, self._guide, len(z))

    def probabilities(self, draws: int) -> dict[str, Tensor]:
        """Probabilities of the values of discrete latents, at draws of those before them.

        Returns:
            By site, float64 ``(draws, data, latents, values)``; only where values can be listed.
        """
        guide = self._run(self.autoencoder.guide, draws)
        sites = {name: _site(guide, name)["fn"] for name in self._latent}
        return {
            name: self._probabilities(name, fn, draws)
            for name, fn in sites.items()
            if can_enumerate(fn)
        }

    def _probabilities(self, name: str, fn: Any, draws: int) -> Tensor:
        values = fn.enumerate_support()
        found = fn.log_prob(values).exp().double()
        if not self.autoencoder.vectorisable:
            found = found.movedim(self._places[name] + 1, 1)
        return found.reshape(len(values), draws, len(self), -1).movedim(0, -1)

    def observation(self, z: Tensor) -> dict[str, Any]:
        """The distributions p(x | z) at latents, by observed site."""
        model = self._run(self.autoencoder.model, len(z), self._split(z))
        return {name: _site(model, name)["fn"] for name in self._data}

    def means(self, z: Tensor) -> dict[str, Tensor]:
        """Means of p(x | z), ``(draws, data, *shape)`` by variable; modes of classes.

        Those of values that are not known are imputations.

        Raises:
            SpecError: See :func:`pyrovae.programs.observed_values.places`.
        """
        return self._data_at(z, lambda name, site: mean_of(name, site["fn"]), hidden=True)

    def draw_data(self, z: Tensor) -> dict[str, Tensor]:
        """Draws from p(x | z), ``(draws, data, *shape)`` by variable.

        What a mask hides is as it is in the data.

        Raises:
            SpecError: See :func:`pyrovae.programs.observed_values.places`.
        """
        return self._data_at(z, lambda _, site: drawn_anew(site))

    def _data_at(
        self, z: Tensor, value: Callable[[str, Site], Tensor], *, hidden: bool = False
    ) -> dict[str, Tensor]:
        """The variables with values of p(x | z) in the place of what is observed."""
        draws = len(z)
        batch = self._batch(draws)
        model = self._run(self.autoencoder.model, draws, self._split(z), batch=batch)
        sites = {name: _site(model, name) for name in self._data}
        values = {name: value(name, site) for name, site in sites.items()}
        found = filled_in(sites, values, batch, hidden=hidden)
        return {
            name: tensor.reshape(draws, len(self), *self.batch.variables[name].shape[1:])
            for name, tensor in found.items()
        }

    def _batch(self, draws: int) -> Batch:
        """The batch that the programs get for several draws."""
        return self.batch if self.autoencoder.vectorisable else self.batch.repeat(draws)

    def _run(
        self,
        program: Callable[..., Any],
        draws: int,
        values: Mapping[str, Tensor] | None = None,
        *,
        summed: bool = False,
        batch: Batch | None = None,
    ) -> Trace:
        """A trace of ``draws`` runs at once: in a plate, or with each observation repeated."""
        if values is not None:
            program = poutine.condition(program, data=dict(values))
        if summed:
            program = enumerated(program)
        variables = (self._batch(draws) if batch is None else batch).variables
        if not self.autoencoder.vectorisable:
            return poutine.trace(program).get_trace(**variables)
        with pyro.plate(DRAWS, draws, dim=-2):
            return poutine.trace(program).get_trace(**variables)

    def _split(self, z: Tensor) -> dict[str, Tensor]:
        """Latents split into the values of the sites."""
        sizes = [shape.numel() for shape in self.shapes.values()]
        batch = z.shape[:-1] if self.autoencoder.vectorisable else (-1,)
        pieces = z.split(sizes, dim=-1)
        values = {
            name: piece.reshape(*batch, *shape).to(self._types[name])
            for (name, shape), piece in zip(self.shapes.items(), pieces, strict=True)
        }
        if self.autoencoder.vectorisable:
            return values
        return {name: value.movedim(0, self._places[name]) for name, value in values.items()}

    def _join(self, values: Mapping[str, Tensor], draws: int) -> Tensor:
        """Values of the latent sites, concatenated."""
        if not self.autoencoder.vectorisable:
            values = {name: values[name].movedim(self._places[name], 0) for name in self._latent}
        rows = [values[name].reshape(draws, len(self), -1) for name in self._latent]
        return torch.cat(rows, dim=-1).to(self.x.dtype)

    def _log_model(self, trace: Trace, draws: int) -> tuple[Tensor, Tensor]:
        """Log p(z) and log p(x | z)."""
        log_prior = self._log_prob(trace, self._latent, draws)
        return log_prior, self._log_prob(trace, self._observed, draws, given=self._latent)

    def _log_prob(
        self, trace: Trace, names: list[str], draws: int, given: list[str] | None = None
    ) -> Tensor:
        count = len(self) if self.autoencoder.vectorisable else draws * len(self)
        reduced = Reduced(Plates.of(trace, count=count))
        return log_densities(trace, names, reduced, given or []).reshape(draws, len(self))


def _without(shape: torch.Size, place: int) -> torch.Size:
    """A shape without one of its dimensions."""
    return shape[:place] + shape[place + 1 :]


def _values(trace: Trace, names: list[str]) -> dict[str, Tensor]:
    return {name: _site(trace, name)["value"] for name in names}


def _site(trace: Trace, name: str) -> Site:
    return trace.nodes[name]
