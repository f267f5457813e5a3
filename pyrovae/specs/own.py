"""Classes of one's own, named in a specification: ``kind = "package.module:Class"``."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import logging
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, field_validator

from pyrovae.errors import SpecError, nearest, reason
from pyrovae.specs.base import Spec

RUN = "run.json"
"""File by which a folder is known to be that of a run."""

NAME = re.compile(r"\w+(\.\w+)*:\w+")
"""Module and class."""

GIVE = "give module and class, as in package.module:Class"

logger = logging.getLogger("pyrovae")


class OwnSpec(Spec):
    """A class by module and name; all further keys are arguments of it."""

    model_config = ConfigDict(extra="allow")

    kind: str

    @field_validator("kind")
    @classmethod
    def _module_and_class(cls, kind: str) -> str:
        if not NAME.fullmatch(kind):
            raise ValueError(GIVE)
        return kind

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments of the class by name."""
        return dict(self.model_extra or {})

    def announce(self, folder: Path) -> None:
        """Say that going on with a run imports the class."""
        announce(self.kind, folder)


def announce(kind: str, folder: Path) -> None:
    """Say that going on with a run imports a class that it names."""
    logger.warning("imports %s, which %s names", kind, folder)


def or_own(own: type[OwnSpec]) -> Callable[[Any, Callable[[Any], Any]], Any]:
    """Validator of a table whose kind is one of pyrovae's, or has a colon in it."""

    def validated(value: Any, declared: Callable[[Any], Any]) -> Any:
        if isinstance(value, own):
            return value
        if isinstance(value, Mapping) and ":" in str(value.get("kind", "")):
            try:
                return own(**value)
            except SpecError as error:  # without the name of the class
                raise ValueError(str(error).partition(": ")[2]) from None
        return declared(value)

    return validated


def import_from(folder: Path) -> None:
    """Let classes be imported from a folder as well.

    Raises:
        SpecError: There is no such folder.
    """
    if not folder.is_dir():
        raise SpecError(f"--import-path {folder}: there is no such folder")
    sys.path.append(str(folder.absolute()))


def own_class(spec: OwnSpec, where: str) -> Any:
    """Import the class that a specification names, and check the names of its arguments.

    Modules are those that are imported already or installed, or in a folder that was named by
    :func:`import_from`; never those of the current folder or of a run's.

    Args:
        spec: The specification.
        where: Its key, such as ``inference.optimiser``.

    Raises:
        SpecError: There is no such class, or it takes no such argument.
    """
    found = named_class(spec.kind, f"{where}.kind = '{spec.kind}'")
    known = inspect.signature(found).parameters
    takes_all = any(each.kind is each.VAR_KEYWORD for each in known.values())
    for key in spec.arguments:
        if key not in known and not takes_all:
            raise SpecError(f"{where} has no key '{key}'; {nearest(key, known)}")
    return found


def named_class(kind: str, asked: str) -> type[Any]:
    """Import a class, by :func:`installed_module`.

    Args:
        kind: Module and class, as in ``package.module:Class``.
        asked: Where it is named, with its name; begins a message.

    Raises:
        SpecError: There is no such class.
    """
    if not NAME.fullmatch(kind):
        raise SpecError(f"{asked}: {GIVE}")
    module, _, name = kind.partition(":")
    found = getattr(installed_module(module, asked), name, None)
    if inspect.isclass(found):
        return found
    classes = [
        key
        for key, value in vars(sys.modules[module]).items()
        if inspect.isclass(value) and not key.startswith("_")
    ]
    raise SpecError(f"{asked}: {module} has no class '{name}'; {nearest(name, classes)}")


def installed_module(name: str, asked: str) -> Any:
    """Import a module that is installed, or in a folder that was named.

    Args:
        name: Its name.
        asked: Where it is named, with its name; begins a message.

    Raises:
        SpecError: There is none, it is in a run's folder, or it fails.
    """
    if name in sys.modules:
        return sys.modules[name]
    before = list(sys.path)
    if sys.path[0] in ("", str(Path.cwd())):  # python -m puts it there
        del sys.path[0]
    try:
        top = importlib.util.find_spec(name.partition(".")[0])
        origin = None if top is None else top.origin
        if origin is not None and any((p / RUN).is_file() for p in Path(origin).parents):
            raise SpecError(f"{asked}: {origin} is in the folder of a run, which is not imported")
        return importlib.import_module(name)
    except SpecError:
        raise
    except ModuleNotFoundError as error:
        raise SpecError(
            f"{asked}: {reason(error)}: install it, or name its folder with --import-path"
        ) from None
    except Exception as error:  # a user's module
        raise SpecError(f"{asked}: {name} cannot be imported: {reason(error)}") from error
    finally:
        sys.path[:] = before
