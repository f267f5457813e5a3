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
from typing import Annotated, Any, Union, get_args

from pydantic import ConfigDict, Field, GetCoreSchemaHandler, field_validator
from pydantic_core import core_schema

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


def announce(kind: str, folder: Path) -> None:
    """Say that a class is imported that a run or a file of weights names."""
    logger.warning("imports %s, which %s names", kind, folder)


class ByKind:
    """Metadata of a union of specifications: one is chosen by its ``kind``.

    Kinds are those of pyrovae's own specifications; one with a colon in it names a class, which is
    the :class:`OwnSpec` of the union.
    """

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """Validation as of a discriminated union, but for kinds with a colon."""
        (own,) = (member for member in get_args(source) if issubclass(member, OwnSpec))
        declared: Any = Union[tuple(members(source))]  # noqa: UP007
        return core_schema.no_info_wrap_validator_function(
            _or_own(own),
            handler.generate_schema(Annotated[declared, Field(discriminator="kind")]),
            serialization=core_schema.simple_ser_schema("any"),  # as the class that it is
        )


BY_KIND = ByKind()


def _or_own(own: type[OwnSpec]) -> Callable[[Any, Callable[[Any], Any]], Any]:
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


def members(union: Any) -> list[type[Spec]]:
    """The specifications of a union, but for that of a class of one's own."""
    union = get_args(union)[0] if hasattr(union, "__metadata__") else union
    return [member for member in get_args(union) if not issubclass(member, OwnSpec)]


def own_kinds(spec: Any) -> list[str]:
    """Classes that a specification names, at any depth; a program by hand names none."""
    if not isinstance(spec, Spec):
        return []
    fields = [getattr(spec, name) for name in type(spec).model_fields]
    below = [kind for value in fields for kind in own_kinds(value)]
    return [spec.kind, *below] if isinstance(spec, OwnSpec) else below


def import_from(folder: Path) -> None:
    """Let classes be imported from a folder as well.

    Raises:
        SpecError: There is no such folder.
    """
    if not folder.is_dir():
        raise SpecError(f"--import-path {folder}: there is no such folder")
    sys.path.append(str(folder.absolute()))


def own_class(spec: OwnSpec, where: str, base: type[Any]) -> type[Any]:
    """Import the class that a specification names, and check the names of its arguments.

    Modules are those that are imported already or installed, or in a folder that was named by
    :func:`import_from`; never those of the current folder or of a run's. Nothing of a class is run
    that is none of the kind that is wanted.

    Args:
        spec: The specification.
        where: Its key, such as ``inference.optimiser``.
        base: The class of which it has to be a subclass.

    Raises:
        SpecError: There is no such class, it is of another kind, or it takes no such argument.
    """
    asked = f"{where}.kind = '{spec.kind}'"
    found = named_class(spec.kind, asked)
    if not issubclass(found, base):
        public = f"{base.__module__.removesuffix('.abstract')}.{base.__name__}"
        raise SpecError(f"{asked}: {found.__name__} is no subclass of {public}: name one that is")
    known = _parameters(found)
    takes_all = any(each.kind is each.VAR_KEYWORD for each in known.values())
    for key in spec.arguments:
        if key not in known and not takes_all:
            named = [name for name, each in known.items() if each.kind is not each.VAR_POSITIONAL]
            said = nearest(key, named) if named else "it takes none"
            raise SpecError(f"{where} has no key '{key}'; {said}")
    return found


def own_part(spec: OwnSpec, where: str, base: type[Any], **offered: Any) -> Any:
    """Make a part of the class that a specification names.

    Args:
        spec: The specification, with arguments of the class.
        where: Its key, such as ``model.prior``.
        base: The class of which it has to be a subclass.
        offered: Further arguments, passed on where the class has parameters of these names.

    Raises:
        SpecError: As :func:`own_class`; or an argument is missing, or the class fails.
    """
    found = own_class(spec, where, base)
    known = _parameters(found)
    given = {key: value for key, value in offered.items() if key in known} | spec.arguments
    for name, each in known.items():
        is_open = each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
        if name not in given and each.default is each.empty and not is_open:
            raise SpecError(
                f"{where} has no key '{name}', which {found.__name__} needs: set it, or give the "
                "parameter a default"
            )
    try:
        return found(**given)
    except SpecError:
        raise
    except Exception as error:  # a user's class
        raise SpecError(f"{where}.kind = '{spec.kind}': {reason(error)}") from error


def _parameters(found: type) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(found).parameters


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
