"""Python files with a model and a guide: two functions, or an object with two methods."""

from __future__ import annotations

import importlib.util
import inspect
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, get_args

from torch import nn

from pyrovae.data.dataset import Binarisation
from pyrovae.errors import SpecError, nearest, reason
from pyrovae.programs.signature import Signature
from pyrovae.specs.program import ProgramSpec

PROGRAMS = ("model", "guide")


class ProgramFile(NamedTuple):
    """The content of a Python file that declares an autoencoder.

    Attributes:
        path: The file.
        owner: The module, or the object in it, whose ``model`` and ``guide`` are used.
        signatures: Signatures of both, by name.
        networks: Networks at the top level of the file or of the object, by name.
        binarisation: Binarisation of the data.
    """

    path: Path
    owner: Any
    signatures: dict[str, Signature]
    networks: dict[str, nn.Module]
    binarisation: Binarisation

    @classmethod
    def load(cls, spec: ProgramSpec) -> ProgramFile:
        """Run the file as a fresh module, and make the object, if it defines one.

        Raises:
            SpecError: It cannot be run, has no ``model`` and ``guide``, takes other arguments, or
                names an unknown binarisation.
        """
        module = _run(spec.file)
        owner = _owner(spec, module)
        held = {**vars(module), **({} if owner is module else {"program": owner} | vars(owner))}
        return cls(
            spec.file,
            owner,
            {name: _signature(spec.file, owner, name) for name in PROGRAMS},
            _outermost(held),
            _binarisation(spec.file, owner, module),
        )

    def call(self, program: str, arguments: dict[str, Any]) -> Any:
        """Call ``model`` or ``guide``."""
        return getattr(self.owner, program)(**arguments)


class _Uncached(SourceFileLoader):
    """Loader that neither reads nor writes byte code.

    That of a file is known by its size and its time in seconds, so that a program changed twice
    within a second would be the first one.
    """

    def path_stats(self, path: str) -> Any:
        """Give no time of the file: without one there is no byte code."""
        raise OSError


def _run(path: Path) -> ModuleType:
    name = f"handwritten_{path.stem}"
    loader = _Uncached(name, str(path))
    definition = importlib.util.spec_from_file_location(name, path, loader=loader)
    if definition is None or definition.loader is None:
        raise SpecError(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(definition)
    try:
        definition.loader.exec_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # also sys.exit, which would end the command without a word
        raise SpecError(f"{path}: {type(error).__name__}: {reason(error)}") from error
    return module


def _owner(spec: ProgramSpec, module: ModuleType) -> Any:
    """The module, if it has both functions; else the only object or class that has both."""
    path = spec.file
    if any(callable(getattr(module, name, None)) for name in PROGRAMS):
        for name in PROGRAMS:
            if not callable(getattr(module, name, None)):
                raise SpecError(
                    f"{path} has no function {name}(x); it needs model(x) and guide(x)"
                )
        _require_no_arguments(spec, "functions")
        return module
    objects = [value for value in vars(module).values() if _has_both(value)]
    classes = [c for c in objects if inspect.isclass(c) and c.__module__ == module.__name__]
    made = [value for value in objects if not inspect.isclass(value)]
    if len(made) == 1:
        _require_no_arguments(spec, "an object that is made already")
        return made[0]
    if made or len(classes) != 1:
        names = ", ".join(c.__name__ for c in classes)
        raise SpecError(
            f"{path} has several classes with a model and a guide, {names}: keep one of them"
            if len(classes) > 1
            else f"{path} has no function model(x); it needs model(x) and guide(x), or one class "
            "with both as methods"
        )
    return _make(spec, classes[0])


def _has_both(value: Any) -> bool:
    return all(callable(getattr(value, name, None)) for name in PROGRAMS)


def _require_no_arguments(spec: ProgramSpec, found: str) -> None:
    if spec.arguments:
        raise SpecError(
            f"--set program.{next(iter(spec.arguments))}: {spec.file} defines {found}, which take "
            "no arguments: only a class with methods model and guide does"
        )


def _make(spec: ProgramSpec, kind: type) -> Any:
    parameters = inspect.signature(kind).parameters.values()
    known = [p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    for name in spec.arguments:
        if name not in known:
            raise SpecError(
                f"--set program.{name}: {kind.__name__} in {spec.file} takes "
                f"{', '.join(known) or 'no arguments'}; {nearest(name, known)}"
            )
    missing = [p.name for p in parameters if p.name in known and p.default is p.empty]
    for name in missing:
        if name not in spec.arguments:
            raise SpecError(
                f"{spec.file}: {kind.__name__} needs {name}: set it with --set "
                f"program.{name}=..., or give it a default"
            )
    try:
        return kind(**spec.arguments)
    except Exception as error:
        raise SpecError(
            f"{spec.file}: {kind.__name__} cannot be made: {type(error).__name__}: {reason(error)}"
        ) from error


def _signature(path: Path, owner: Any, program: str) -> Signature:
    try:
        return Signature.of(getattr(owner, program))
    except ValueError as error:
        raise SpecError(f"{path}: {program}() cannot be used, {error}: give it x") from None


def _outermost(held: dict[str, Any]) -> dict[str, nn.Module]:
    """The networks that are not part of another."""
    networks = {name: value for name, value in held.items() if isinstance(value, nn.Module)}
    inner = {part for network in networks.values() for part in list(network.modules())[1:]}
    return {name: network for name, network in networks.items() if network not in inner}


def _binarisation(path: Path, owner: Any, module: ModuleType) -> Any:
    found = getattr(owner, "binarisation", getattr(module, "binarisation", "none"))
    if found not in get_args(Binarisation):
        choice = nearest(str(found), get_args(Binarisation))
        raise SpecError(f"{path}: binarisation = {found!r} is not known; {choice}")
    return found
