"""A user's own pair of Pyro programs, from a Python file."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import pyro
import torch
from pyro.poutine.runtime import NonlocalExit
from pyro.poutine.trace_struct import Trace
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

from pyrovae.compute.modes import evaluation_mode
from pyrovae.data import Splits
from pyrovae.data.contract import Contract
from pyrovae.data.dataset import Binarisation
from pyrovae.errors import ProgramError, PyrovaeError, SpecError, nearest, reason
from pyrovae.programs.autoencoder import Autoencoder, Formulas
from pyrovae.programs.enumeration import is_summed
from pyrovae.programs.traces import missing_values, observed_sites, sites_by_role


class Handwritten(Autoencoder):
    """Functions ``model(x)`` and ``guide(x)`` of a Python file, as an autoencoder.

    The file may keep its parameters in networks at its top level, named to Pyro by
    ``pyro.module``, or in ``pyro.param``. They are kept in a parameter store of their own, which
    no other file, nor a second copy of the same file, shares. A top-level string ``binarisation``
    sets the binarisation of the data ("none" by default).

    Args:
        path: The Python file.
        data: The data as loaded; both programs run once on a few observations, to create all
            parameters.

    Raises:
        SpecError: The file cannot be run, lacks ``model`` or ``guide``, or either fails on
            the data.
    """

    # Another person's program need not broadcast: particles are drawn one after the other.
    vectorisable = False

    def __init__(self, path: Path, data: Splits) -> None:
        super().__init__()
        self.path = path
        self.source = f"{path}: "
        self.file = load_file(path)
        self.contract = Contract(getattr(self.file, "binarisation", "none"))
        self._store: Any = {"params": {}, "constraints": {}}
        for name, value in vars(self.file).copy().items():
            if isinstance(value, nn.Module):
                self.add_module(self._free(name), value)
        self._formulas = self._try(self.contract.apply(data).train.batch(torch.arange(2)))
        self._adopt_parameters()
        if not any(parameter.requires_grad for parameter in self.parameters()):
            raise SpecError(f"{path}: model(x) and guide(x) have no parameter to fit")

    def model(self, x: Tensor) -> Any:
        """The file's ``model(x)``."""
        with self._running("model", x):
            return self.file.model(x)

    def guide(self, x: Tensor) -> Any:
        """The file's ``guide(x)``."""
        with self._running("guide", x):
            return self.file.guide(x)

    def formulas(self) -> Formulas:
        """The families of the distributions at the sites of both programs."""
        return self._formulas

    @contextmanager
    def _running(self, program: str, x: Tensor) -> Iterator[None]:
        """Run in the file's own parameter store, with errors that name the file."""
        try:
            with pyro.get_param_store().scope(self._store):
                yield
        except (PyrovaeError, NonlocalExit):
            raise
        except Exception as error:
            raise ProgramError(
                f"{self.path}: {program}(x) fails on x of shape {tuple(x.shape)}: {reason(error)}"
            ) from error

    def _try(self, example: Tensor) -> Formulas:
        with evaluation_mode(self), _called() as called:
            traces = self.traces(example)
        # Networks that are not at the top level of the file have modes and buffers as well.
        for module in called:
            if module not in set(self.modules()):
                self.add_module(self._free(type(module).__name__.lower()), module)
        drawn = [
            name
            for name, site in sites_by_role(traces.model, "latent").items()
            if name in traces.latent or not is_summed(site)
        ]
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
        observed = observed_sites(traces.model)
        if not observed and not sites_by_role(traces.model, "factor"):
            raise SpecError(f"{self.path}: model(x) observes nothing: give a site obs=x")
        return Formulas(
            prior=_families(traces.model, latent),
            likelihood=_families(traces.model, observed),
            guide=_families(traces.guide, latent),
        )

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


def load_file(path: Path) -> ModuleType:
    """Load a Python file as a fresh module, with functions ``model`` and ``guide``.

    Raises:
        SpecError: It cannot be run, lacks one of the two, or names an unknown binarisation.
    """
    definition = importlib.util.spec_from_file_location(f"handwritten_{path.stem}", path)
    if definition is None or definition.loader is None:
        raise SpecError(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(definition)
    try:
        definition.loader.exec_module(module)
    except Exception as error:
        raise SpecError(f"{path}: {type(error).__name__}: {reason(error)}") from error
    for name in ("model", "guide"):
        if not callable(getattr(module, name, None)):
            raise SpecError(f"{path} has no function {name}(x); it needs model(x) and guide(x)")
    binarisation = getattr(module, "binarisation", "none")
    if binarisation not in get_args(Binarisation):
        choice = nearest(str(binarisation), get_args(Binarisation))
        raise SpecError(f"{path}: binarisation = {binarisation!r} is not known; {choice}")
    return module


def _families(trace: Trace, sites: list[str]) -> str:
    return ", ".join(f"{name} ~ {_family(trace.nodes[name]['fn'])}" for name in sites)


def _family(distribution: Any) -> str:
    base = getattr(distribution, "base_dist", distribution)
    return f"{type(base).__name__} {tuple(distribution.event_shape)}"
