"""Sites of any Pyro program, with the names of their dimensions, and many draws from it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import pyro
from numpy.typing import NDArray
from pyro import poutine
from pyro.poutine.trace_struct import Trace
from pyro.poutine.uncondition_messenger import UnconditionMessenger
from torch import Tensor

from pyrovae.diagnosis.arviz_tree import event_dims, label
from pyrovae.errors import PyrovaeError, SpecError, reason
from pyrovae.evaluation.results import Variable
from pyrovae.programs.plates import DRAWS
from pyrovae.programs.traces import Site, role, sites_by_role

# Observed numbers of the draws that are made at once, at most: enough for a processor to spend
# its time in arithmetic, and few enough that activations take some hundred megabytes.
NUMBERS_AT_ONCE = 2**21
TAKEN = ("chain", "draw")


class Layout(NamedTuple):
    """Layout of a site's values in an array.

    Attributes:
        dims: Names of the dimensions: those of plates, then those of an event.
        sizes: Lengths of the dimensions.
        batch: Number of dimensions that are not of an event.
        rank: Number of batch dimensions in the program, which has some for the plates of other
            sites as well.
    """

    dims: tuple[str, ...]
    sizes: tuple[int, ...]
    batch: int
    rank: int

    @property
    def per_event(self) -> Layout:
        """Layout of log-densities, one for each event."""
        return Layout(self.dims[: self.batch], self.sizes[: self.batch], self.batch, self.rank)

    def variable(
        self, values: NDArray[Any], sample: tuple[int, ...], description: str
    ) -> Variable:
        """Values ``(draws, *sizes)`` as ``(*sample, *sizes)``; ``sample`` is chains and draws."""
        dims = TAKEN[: len(sample)] + self.dims
        return Variable(dims, values.reshape((*sample, *self.sizes)), description)


def layout(name: str, site: Site) -> Layout:
    """Layout of a site of a trace."""
    shape = tuple(site["value"].shape)
    rank = len(shape) - _event_rank(site, len(shape))
    plates = {frame.dim: frame for frame in site["cond_indep_stack"] if frame.vectorized}
    dims: list[str | None] = []
    sizes = []
    for position, size in zip(range(-rank, 0), shape[:rank], strict=True):
        if position in plates and size == plates[position].size:
            dims.append(label(plates[position].name))
        elif size == 1 and any(dim <= position for dim in plates):
            continue  # room for a plate of other sites
        else:
            dims.append(None)
        sizes.append(size)
    batch = len(dims)
    dims += [None] * (len(shape) - rank)
    unnamed = iter(event_dims(label(name), dims.count(None)))
    named = tuple(next(unnamed) if dim is None else dim for dim in dims)
    return Layout(named, (*sizes, *shape[rank:]), batch, rank)


def plates(site: Site) -> list[str]:
    """Names of the plates around a site whose dimensions it has, outermost first."""
    frames = [frame for frame in site["cond_indep_stack"] if frame.vectorized]
    return [frame.name for frame in sorted(frames, key=lambda frame: frame.dim)]


@dataclass(frozen=True)
class Program:
    """A Pyro program with its arguments.

    Attributes:
        run: The program.
        args: Its arguments.
        kwargs: Its keyword arguments.
        nesting: Number of dimensions of its plates; the plate of draws is left of them.
        vectorize: Whether many draws are made at once, in a plate around the program.
        at_once: Number of draws at once if ``vectorize``.
    """

    run: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    nesting: int = 0
    vectorize: bool = False
    at_once: int = 1

    def trace(self, draws: int = 1, values: Mapping[str, Tensor] | None = None) -> Trace:
        """Trace of several draws, with given values at some sites."""
        return self._trace(self.run, draws, values)

    def predictive(self, draws: int, values: Mapping[str, Tensor] | None = None) -> Trace:
        """Trace as of :meth:`trace`, with observed sites drawn anew."""
        return self._trace(Unobserve()(self.run), draws, values)

    def sizes(self, draws: int) -> list[int]:
        """Numbers of draws in each of the traces that make so many draws."""
        size = self.at_once if self.vectorize else 1
        return [min(size, draws - start) for start in range(0, draws, size)]

    def _trace(
        self, program: Callable[..., Any], draws: int, values: Mapping[str, Tensor] | None
    ) -> Trace:
        if values is not None:
            program = _Given(values)(program)
        if not self.vectorize:
            return poutine.trace(program).get_trace(*self.args, **self.kwargs)
        try:
            with pyro.plate(DRAWS, draws, dim=-1 - self.nesting):
                return poutine.trace(program).get_trace(*self.args, **self.kwargs)
        except (PyrovaeError, NotImplementedError):
            raise
        except Exception as error:  # whatever an operation raises at shapes it does not take
            raise SpecError(
                "vectorize=True runs a program for many draws at once, in a dimension on the "
                f"left, and this one fails on that: {reason(error)}; leave vectorize=True out, or "
                "let the program broadcast"
            ) from error


class Unobserve(UnconditionMessenger):
    """Draw observed sites, and keep deterministic ones.

    Pyro's own handler would draw a ``pyro.deterministic`` in a plate with the plate's dimension
    twice.
    """

    def _pyro_sample(self, msg: Any) -> None:
        if role(msg) != "deterministic":
            super()._pyro_sample(msg)


class _Given(poutine.messenger.Messenger):
    """Set the values of latent sites, which remain latent."""

    def __init__(self, values: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.values = values

    def _pyro_sample(self, msg: Any) -> None:
        if msg["name"] in self.values and not msg["is_observed"]:
            msg["value"] = self.values[msg["name"]]


class Sites(NamedTuple):
    """The sites of a model by role, with their layouts.

    Attributes:
        latent: Sites that are drawn and not observed.
        observed: Observed sites.
        deterministic: Sites of ``pyro.deterministic``.
        factors: Names of sites that only have a density.
    """

    latent: dict[str, Layout]
    observed: dict[str, Layout]
    deterministic: dict[str, Layout]
    factors: list[str]

    @property
    def observed_numbers(self) -> int:
        """Number of observed values; one if there are none."""
        return max(1, sum(math.prod(of.sizes) for of in self.observed.values()))

    def vectorized(self, program: Program, traces: Iterable[Trace]) -> Program:
        """Program that draws in a plate around the plates of these traces of it."""
        at_once = max(1, NUMBERS_AT_ONCE // self.observed_numbers)
        return replace(program, vectorize=True, at_once=at_once, nesting=nesting(traces))

    @classmethod
    def of(cls, trace: Trace) -> Sites:
        """Sites of a plain trace.

        Raises:
            SpecError: A plate is subsampled, or is called "chain" or "draw".
        """
        roles = cls({}, {}, {}, [])
        for name, site in sampled(trace).items():
            _require_whole_plates(site)
            match role(site):
                case "factor":
                    roles.factors.append(name)
                case "deterministic":
                    roles.deterministic[name] = layout(name, site)
                case "observed":
                    roles.observed[name] = layout(name, site)
                case _:
                    roles.latent[name] = layout(name, site)
        return roles


def sampled(trace: Trace) -> dict[str, Site]:
    """The sites of ``pyro.sample`` statements, by name; a plate's own site is none."""
    return sites_by_role(trace, "latent", "observed", "factor", "deterministic")


def site_of(trace: Trace, name: str) -> Site:
    """A site of a trace.

    Raises:
        SpecError: This run of the program did not come by it.
    """
    if name not in trace.nodes:
        raise SpecError(
            f"site '{name}' is not met in every run of its program: only programs that always "
            "draw the same sites can be converted"
        )
    return trace.nodes[name]


def nesting(traces: Iterable[Trace]) -> int:
    """Number of dimensions of the plates of several traces, counted from the right."""
    sites = [site for trace in traces for site in sampled(trace).values()]
    frames = [f for site in sites for f in site["cond_indep_stack"] if f.vectorized]
    return max((-frame.dim for frame in frames), default=0)


def require_vectorisable(trace: Trace, names: Iterable[str]) -> None:
    """Refuse sites with dimensions that a plate on their left would not see.

    Raises:
        SpecError: Names such a site.
    """
    for name in names:
        site: Site = trace.nodes[name]
        batch = tuple(site["fn"].batch_shape)
        covered = {frame.dim for frame in site["cond_indep_stack"] if frame.vectorized}
        free = [d for d in range(-len(batch), 0) if batch[d] != 1 and d not in covered]
        if free:
            raise SpecError(
                f"site '{name}' has batch shape {batch}, of which dimension {free[0]} is in no "
                "plate: vectorize=True needs a pyro.plate around it or .to_event(1) on its "
                "distribution"
            )


def _event_rank(site: Site, rank: int) -> int:
    """Number of event dimensions of a site's value.

    A ``pyro.deterministic`` in a plate has all dimensions as such, unless its event_dim is given.
    """
    event = site["fn"].event_dim
    if role(site) == "deterministic" and event == rank and plates(site):
        return 0
    return event


def _require_whole_plates(site: Site) -> None:
    for frame in site["cond_indep_stack"]:
        if frame.full_size != frame.size:
            raise SpecError(
                f"plate '{frame.name}' holds {frame.size} of {frame.full_size}: pass all the "
                "data, without subsampling, or draws of different data would be mixed"
            )
        if label(frame.name) in TAKEN:
            raise SpecError(
                f"plate '{frame.name}' has the name of a dimension of ArviZ: give it another"
            )
