"""Find, read, override, validate and write specifications. Imports no torch."""

from __future__ import annotations

import copy
import re
import tomllib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from pyrovae.errors import SpecError, nearest, short
from pyrovae.specs.base import Spec, by_key, read_toml, why_no_toml
from pyrovae.specs.error_messages import explain

AnySpec = TypeVar("AnySpec", bound=Spec)
Tree = dict[str, Any]

DEEPEST = 10
"""Tables within tables, at most."""


def shelf(folder: str) -> Path:
    """Return the folder of shipped ``models`` or ``inference``, in the wheel or the checkout."""
    package = Path(__file__).parents[1]
    installed = package / "_shelf" / folder
    return installed if installed.is_dir() else package.parent / folder


def shipped(folder: str) -> list[str]:
    """Names of the specifications in ``models`` or ``inference``."""
    files = shelf(folder).glob("*.*")
    return sorted(file.stem for file in files if file.suffix in {".toml", ".py"})


def find(name: str, folder: str) -> Path:
    """Return the file that a name or a path stands for.

    Raises:
        SpecError: No such file; names the nearest one that is shipped.
    """
    if Path(name).suffix in {".toml", ".py"}:
        if not Path(name).is_file():
            raise SpecError(f"there is no file '{short(name, 200)}'")
        return Path(name)
    for suffix in (".toml", ".py"):
        if (file := shelf(folder) / f"{name}{suffix}").is_file():
            return file
    other = "inference" if folder == "models" else "models"
    if name in shipped(other):
        raise SpecError(
            f"no file '{name}' is shipped in {folder}/, and one is in {other}/: name the model "
            "first and the inference second, as in vae svi"
        )
    raise SpecError(
        f"no file '{short(name, 80)}' is shipped in {folder}/; {nearest(name, shipped(folder))}"
    )


def described(folder: str) -> dict[str, str]:
    """The first sentence of each shipped file, by name."""
    texts = {name: find(name, folder).read_text(encoding="utf-8") for name in shipped(folder)}
    return {name: _first_sentence(text) for name, text in texts.items()}


def keys_named(word: str) -> list[str]:
    """Dotted keys of the default specifications with this word in them, the shortest first.

    Example:
        >>> keys_named("epochs"), keys_named("learning-rate")
        (['inference.epochs'], ['inference.optimiser.learning_rate'])
    """
    from pyrovae.specs.inference import InferenceSpec
    from pyrovae.specs.model import ModelSpec

    word = word.replace("-", "_")
    flat = [
        f"{spec.section}.{key}"
        for spec in (ModelSpec, InferenceSpec)
        for key in by_key(_defaults(spec))
    ]
    return sorted((key for key in flat if word in key.split(".")[1:]), key=len)


def read(file: Path, spec: type[AnySpec], overrides: Tree | None = None) -> AnySpec:
    """Read a specification from a TOML file, then apply overrides by dotted key.

    Args:
        file: The TOML file; missing keys take their defaults.
        spec: Class of the specification.
        overrides: Values by dotted key (``{"prior.kind": "vamp"}``). A new ``kind`` clears
            the table it stands in, since the old kind's keys mean nothing to the new one.

    Raises:
        SpecError: Not TOML, or keys, kinds or values that are not allowed; a sentence each.
    """
    tree = read_toml(file)
    return _overridden(_merge(_defaults(spec), tree), spec, str(file), overrides or {})


def override(spec: AnySpec, overrides: Tree) -> AnySpec:
    """A specification with other values at some dotted keys, as of :func:`read`."""
    if not overrides:
        return spec
    kind = type(spec)
    tree = spec.model_dump(mode="json", exclude_none=True)
    return _overridden(tree, kind, kind.__name__, overrides)


def validate(
    tree: Tree, spec: type[AnySpec], where: str, overrides: Tree | None = None
) -> AnySpec:
    """Validate a tree of values as a specification.

    Raises:
        SpecError: Keys, kinds or values that are not allowed; a sentence each.
    """
    try:
        return TypeAdapter(spec).validate_python(tree)
    except ValidationError as error:
        sentences = explain(error, spec, tree)
    raise SpecError(
        "\n".join(
            f"{_blame(key, overrides, spec) or where}: {sentence}"
            for key, sentence in sentences.items()
        )
    )


def parse_override(text: str) -> tuple[str, Any]:
    """Parse a command line's ``KEY=VALUE``; the value is TOML where it can be, else a word.

    Example:
        >>> parse_override("model.prior.pseudo_inputs=100")
        ('model.prior.pseudo_inputs', 100)
        >>> parse_override("model.prior.kind=vamp")
        ('model.prior.kind', 'vamp')

    Raises:
        SpecError: No ``=``, or no value that can be read.
    """
    key, equals, value = text.partition("=")
    if not equals:
        raise SpecError(
            f"--set {short(text, 80)}: expected KEY=VALUE, as in model.prior.kind=vamp"
        )
    if key.count(".") > DEEPEST:
        raise SpecError(f"--set {short(key, 80)}: no key has so many parts")
    try:
        tree = tomllib.loads(f"value = {value}")
    except tomllib.TOMLDecodeError:
        return key, value
    except (ValueError, RecursionError) as error:  # too many digits, lists within lists
        raise SpecError(f"--set {short(key, 80)}: {why_no_toml(error)}") from None
    return key, tree["value"] if len(tree) == 1 else value


def differences(before: Tree, after: Tree) -> list[str]:
    """Dotted keys at which two trees of values differ, with both values.

    Example:
        >>> differences({"prior": {"kind": "normal"}}, {"prior": {"kind": "vamp"}})
        ["prior.kind was 'normal' and is 'vamp'"]
    """
    old, new = by_key(before), by_key(after)
    changed = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    return [f"{key} was {old.get(key)!r} and is {new.get(key)!r}" for key in changed]


def _first_sentence(text: str) -> str:
    """The first sentence of a file's leading comment or docstring, without its references."""
    said = text.removeprefix('"""').lstrip("# ").replace("\n# ", " ")
    return re.split(r"(?<!et al)[.:;](?:\s|$)|, arXiv|\n", said)[0]


def _defaults(spec: type[Spec]) -> Tree:
    return spec().model_dump(mode="json", exclude_none=True)


def _merge(base: Tree, tree: Tree) -> Tree:
    """Merge ``tree`` into ``base``; a table of another kind replaces the old one."""
    merged = copy.deepcopy(base)
    for key, value in tree.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            same_kind = value.get("kind", old.get("kind")) == old.get("kind")
            merged[key] = _merge(old if same_kind else {}, value)
        else:
            merged[key] = value
    return merged


def _overridden(tree: Tree, spec: type[AnySpec], where: str, overrides: Tree) -> AnySpec:
    for key in sorted(overrides, key=_kinds_first):
        _override(tree, key, overrides[key], spec)
    return validate(tree, spec, where, overrides)


def _override(tree: Tree, key: str, value: Any, spec: type[Spec]) -> None:
    *tables, last = key.split(".")
    for table in tables:
        inner = tree.setdefault(table, {})
        if not isinstance(inner, dict):
            raise SpecError(
                f"--set {spec.section}.{key}: '{table}' is a value, not a table of keys"
            )
        tree = inner
    if last == "kind" and tree.get("kind") != value:
        tree.clear()
    tree[last] = value


def _kinds_first(key: str) -> tuple[bool, int]:
    return not key.endswith("kind"), key.count(".")


def _blame(key: str, overrides: Tree | None, spec: type[Spec]) -> str | None:
    """Return the ``--set`` that caused a wrong value, if one did."""
    overrides = overrides or {}
    if key in overrides:
        return f"--set {spec.section}.{key}"
    for override in overrides:
        table = override.removesuffix(".kind")
        if f"{key}.".startswith(f"{table}."):
            return f"--set {spec.section}.{override}"
    return None
