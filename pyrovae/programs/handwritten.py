"""A user's own pair of Pyro programs, from a Python file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.poutine.runtime import NonlocalExit
from pyro.poutine.trace_struct import Trace
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

from pyrovae.compute.modes import evaluation_mode
from pyrovae.data import Batch, Splits
from pyrovae.data.batch import KNOWN, X_KNOWN
from pyrovae.data.contract import Contract
from pyrovae.errors import ProgramError, PyrovaeError, SpecError, message, reason
from pyrovae.programs.autoencoder import Autoencoder, Formulas, trace_at_centers
from pyrovae.programs.enumeration import is_summed
from pyrovae.programs.given_values import as_count, as_observations, as_variable
from pyrovae.programs.observed_values import (
    filled_in,
    innermost,
    means_of_x,
    observations,
    require_x,
)
from pyrovae.programs.program_file import ProgramFile
from pyrovae.programs.traces import group_of, missing_values, observed_sites, sites_by_role
from pyrovae.specs.program import ProgramSpec

# What a declaration has a key for, and a program does itself.
PARTS = {
    "inference.guide.kind": "guide",
    "inference.guide.": "",
    "model.prior.kind": "a prior",
    "model.likelihood.kind": "likelihood",
    "model.likelihood.": "",
    "model.decoder": "decoder",
    "model.latent_dim =": "a latent dimension of",
}


class Handwritten(Autoencoder):
    """Model and guide of a Python file, as an autoencoder.

    They are two functions, or two methods of a class, whose arguments are those of the
    specification. Both take the observations and, by the names of their parameters,
    further variables of the data: ``model(x)``, ``model(x, y)``, ``guide(x, y=None)``. See
    :class:`~pyrovae.programs.signature.Signature`.

    The file may keep its parameters in networks at its top level, named to Pyro by
    ``pyro.module``, or in ``pyro.param``. They are kept in a parameter store of their own, which
    no other file, nor a second copy of the same file, shares. A top-level string ``binarisation``
    sets the binarisation of the data ("none" by default).

    Args:
        spec: The Python file, or its specification.
        data: The data as loaded; both programs run once on a few observations, to create all
            parameters.

    Raises:
        SpecError: The file cannot be run, lacks ``model`` or ``guide``, or either fails on
            the data, or takes a variable that the data lack.
    """

    # Another person's program need not broadcast: particles are drawn one after the other.
    vectorisable = False

    def __init__(self, spec: Path | ProgramSpec, data: Splits) -> None:
        super().__init__()
        self.spec = spec if isinstance(spec, ProgramSpec) else ProgramSpec(spec)
        self.path = path = self.spec.file
        self.source = f"{path}: "
        self.file = ProgramFile.load(self.spec)
        self.contract = Contract(
            self.file.binarisation,
            variables=self._variables(data),
            columns=data.train.columns,
            transforms=data.train.transforms,
        )
        self._store: Any = {"params": {}, "constraints": {}}
        for name, network in self.file.networks.items():
            self.add_module(self._free(name), network)
        self._like = self.contract.apply(data).train.batch(torch.arange(2))
        self._formulas = self._try(self._like)
        self._adopt_parameters()
        if not any(parameter.requires_grad for parameter in self.parameters()):
            raise SpecError(f"{path}: model(x) and guide(x) have no parameter to fit")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one observation."""
        return tuple(self._like.x.shape[1:])

    @property
    def conditions(self) -> tuple[str, ...]:
        """Names of the variables of the data that ``model`` takes and has no site for.

        Masks are none: of draws all values are known.
        """
        signature = self.file.signatures["model"]
        own = {"x", *self._latent, *self._observed}
        return tuple(
            name
            for name in signature.others
            if name in self.contract.variables and name.removesuffix(KNOWN) not in own
        )

    def model(self, x: Tensor, *rest: Tensor, **others: Any) -> Any:
        """The file's ``model``, with the variables that it takes."""
        return self._run("model", x, *rest, **others)

    def guide(self, x: Tensor, *rest: Tensor, **others: Any) -> Any:
        """The file's ``guide``, with the variables that it takes."""
        return self._run("guide", x, *rest, **others)

    def encode(self, x: Any, **others: Any) -> Any:
        """q(z | x), or the distribution of each latent site by name if there are several.

        One that the guide draws after another is given a draw of that.

        Args:
            x: Data ``(batch, *shape)``, a tensor, an array or a list of numbers.
            others: Further variables by name.

        Raises:
            DataError: The data have another shape, or are not as the programs see them.
        """
        batch = self._observed_batch("encode", x, others)
        trace = poutine.trace(self.guide).get_trace(**batch.variables)
        return _only({name: trace.nodes[name]["fn"] for name in self._latent})

    def decode(self, z: Any, **others: Any) -> Any:
        """p(x | z), or the distribution of each observed site by name if there are several.

        Args:
            z: Latents ``(batch, *shape)``, or those of each site by name if there are several.
            others: Further variables by name; the data's first ones by default.
        """
        values = self._as_variables(z if isinstance(z, Mapping) else {self._latent[0]: z})
        model = poutine.condition(self.model, data=values)
        batch = self._given(len(next(iter(values.values()))), others)
        trace = poutine.trace(model).get_trace(**batch.variables)
        return _only(
            {name: trace.nodes[name]["fn"] for name in observed_sites(trace) if name not in values}
        )

    @torch.no_grad()
    def sample(self, count: int, **others: Any) -> Tensor:
        """Draw data ``(count, *shape)`` from p(x).

        Args:
            count: Number of observations.
            others: Further variables by name; the data's first ones by default.

        Raises:
            SpecError: No site observes ``x``, whose shape is returned; or the count is not a
                whole number from 1 on.
        """
        batch = self._given(as_count("sample", count), others)
        model = poutine.uncondition(self.model)
        sites = observations(poutine.trace(model).get_trace(**batch.variables))
        drawn = filled_in(sites, {name: site["value"] for name, site in sites.items()}, batch)
        found: Tensor = require_x(drawn)
        return found

    @torch.no_grad()
    def reconstruct(self, x: Any, **others: Any) -> Tensor:
        """Mean of p(x | z) at the means of q(z | x), in the shape of the data.

        Raises:
            SpecError: No site observes ``x``, or one has no mean.
            DataError: As for :meth:`encode`.
        """
        batch = self._observed_batch("reconstruct", x, others)
        return means_of_x(trace_at_centers(self, batch.variables), batch)

    def reworded(self, advice: str) -> str:
        """Advice about the parts of a declared model, as advice about those of a program."""
        for key, words in PARTS.items():
            advice = advice.replace(key, words)
        return advice

    def formulas(self) -> Formulas:
        """The families of the distributions at the sites of both programs."""
        return self._formulas

    def _variables(self, data: Splits) -> tuple[str, ...]:
        """Names of the variables that the programs take beside the observations.

        Raises:
            SpecError: The data lack one.
        """
        known = data.train.variables
        for program, signature in self.file.signatures.items():
            for name in signature.required:
                if name not in known:
                    raise SpecError(
                        f"{self.path}: {program}({signature}) takes {name}, and {data.name} has "
                        f"{', '.join(['x', *known])}: save it in an .npz file beside x, or give "
                        f"{name} a default"
                    )
        taken = (signature.variables(known) for signature in self.file.signatures.values())
        return tuple(dict.fromkeys(name for names in taken for name in names))

    def _run(self, program: str, x: Tensor, *rest: Tensor, **others: Any) -> Any:
        """Run in the file's own parameter store, with errors that name the file."""
        signature = self.file.signatures[program]
        given = {"x": x, **dict(zip(signature.others, rest, strict=False)), **others}
        arguments = signature.arguments(given)
        try:
            with pyro.get_param_store().scope(self._store):
                return self.file.call(program, arguments)
        except (PyrovaeError, NonlocalExit, torch.OutOfMemoryError):
            raise
        except Exception as error:
            shapes = ", ".join(f"{name} {_described(value)}" for name, value in given.items())
            raise ProgramError(
                f"{self.path}: {program}({signature}) fails on {shapes}: {reason(error)}"
                + _hint(error)
            ) from error

    def _try(self, example: Batch) -> Formulas:
        with evaluation_mode(self), _called() as called:
            try:
                traces = self.traces(example)
            except ProgramError:
                raise
            except SpecError as error:
                raise SpecError(f"{self.path}: {message(error)}") from None
        # Networks that are not at the top level of the file have modes and buffers as well.
        for module in called:
            if module not in set(self.modules()):
                self.add_module(self._free(type(module).__name__.lower()), module)
        drawn = [
            name
            for name, site in sites_by_role(traces.model, "latent").items()
            if name in traces.latent or not is_summed(site)
        ]
        self._latent = traces.latent
        sites = sites_by_role(traces.guide, "latent")
        guided = [name for name, site in sites.items() if not site["infer"].get("is_auxiliary")]
        latent = traces.latent
        left = set(drawn) - set(guided) - set(missing_values(traces.model))
        if not latent or left or set(guided) - set(drawn):
            raise SpecError(
                f"{self.path}: model(x) draws {drawn or 'nothing'} and guide(x) draws "
                f"{guided or 'nothing'}: both must draw the same sites, but for discrete ones, "
                "which the model alone may draw"
            )
        self._observed = observed = observed_sites(traces.model)
        if not observed and not sites_by_role(traces.model, "factor"):
            raise SpecError(f"{self.path}: model(x) observes nothing: give a site obs=x")
        return Formulas(
            prior=_families(traces.model, latent),
            likelihood=_families(traces.model, observed),
            guide=_families(traces.guide, latent),
        )

    def _observed_batch(self, where: str, x: Any, others: Mapping[str, Any]) -> Batch:
        """Data and further variables given in Python."""
        x = as_observations(where, x, self.shape, self._parameter, axes=1)
        self.require_prepared(x)
        return Batch(x, self._as_variables(others))

    def _as_variables(self, others: Mapping[str, Any]) -> dict[str, Any]:
        """Further variables, or latents, given in Python."""
        return {name: as_variable(name, v, self._parameter) for name, v in others.items()}

    def _given(self, count: int, others: Mapping[str, Any]) -> Batch:
        """The first observation of the data, ``count`` times, with other further variables.

        All its values count as known, as those that take their place are.
        """
        first = self._like[:1].repeat(count).to(self.device)
        known = {name: torch.ones_like(v) for name, v in first.others.items() if name == X_KNOWN}
        return Batch(first.x, {**first.others, **known, **self._as_variables(others)})

    def _adopt_parameters(self) -> None:
        """Register the parameters of ``pyro.param``, beside the networks at the top level."""
        known = {id(parameter) for parameter in self.parameters()}
        for name, value in self._store["params"].items():
            if id(value) not in known:
                parameter = nn.Parameter(value.detach())
                self._store["params"][name] = parameter
                self.register_parameter(self._free(name.replace(".", "/")), parameter)

    def _free(self, name: str) -> str:
        """Return the name, or a similar one that no attribute has."""
        while hasattr(self, name):
            name += "_"
        return name


@contextmanager
def _called() -> Iterator[list[nn.Module]]:
    """Record the modules that are called, run them in evaluation mode, and restore their modes."""
    modes: dict[nn.Module, bool] = {}
    called: list[nn.Module] = []

    def note(module: nn.Module, inputs: Any) -> None:
        if module not in modes:
            called.append(module)
        modes.setdefault(module, module.training)
        module.training = False

    hook = register_module_forward_pre_hook(note)
    try:
        yield called
    finally:
        hook.remove()
        for module, mode in modes.items():
            module.training = mode


def _described(value: Any) -> str:
    """Shape of an argument, and the range of whole numbers."""
    if not isinstance(value, Tensor):
        return repr(value)
    shape = f"of shape {tuple(value.shape)}"
    if value.dtype != torch.int64 or not value.numel():
        return shape
    return f"{shape} and values {int(value.min())} to {int(value.max())}"


def _hint(error: Exception) -> str:
    """Remedy of errors that are often met, as the end of a sentence."""
    if "Shape mismatch inside plate" in str(error):
        return '; a plate holds a batch as it is: pyro.plate("data", len(x)), without a subsample'
    return ""


def _only(found: dict[str, Any]) -> Any:
    """The only value, or all of them by name."""
    return next(iter(found.values())) if len(found) == 1 else found


def _families(trace: Trace, sites: list[str]) -> str:
    """The family of each site; those of a chain as ``z_1, ..., z_9 ~ Normal (2,)``."""
    named: dict[tuple[str, str], list[str]] = {}
    for name in sites:
        named.setdefault((group_of(name), _family(trace.nodes[name]["fn"])), []).append(name)
    return ", ".join(
        f"{', '.join(found) if len(found) < 3 else f'{found[0]}, ..., {found[-1]}'} ~ {family}"
        for (_, family), found in named.items()
    )


def _family(distribution: Any) -> str:
    base = innermost(distribution)
    return f"{type(base).__name__} {tuple(distribution.event_shape)}"
