"""Keys of a study file: what a sweep trains, and in which ranges. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from pyrovae.errors import SpecError, short, shown
from pyrovae.specs.base import Count, Spec, by_key, read_toml
from pyrovae.specs.computation import Precision
from pyrovae.specs.error_messages import explain
from pyrovae.specs.files import Tree
from pyrovae.specs.inference import Seed
from pyrovae.specs.settings import SECTIONS

Objective = Literal["validation ELBO", "validation loss"]

EXAMPLES = "{low = 1e-4, high = 1e-2, log = true} or {choices = [16, 32]}"

HEADER = re.compile(r"\s*\[([^\[\]]+)\]")
KEY = re.compile(r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""")


class SearchSpec(Spec):
    """The values among which a key is looked for: from ``low`` to ``high``, or ``choices``.

    With ``log``, the logarithm is uniform at first. A range has whole numbers alone where the key
    does.
    """

    low: int | float | None = None
    high: int | float | None = None
    log: bool = False
    choices: Annotated[tuple[Any, ...], Field(min_length=1, strict=False)] | None = None

    @model_validator(mode="after")
    def _a_range_or_choices(self) -> SearchSpec:
        if self.choices is not None:
            if self.low is not None or self.high is not None or self.log:
                raise ValueError("give choices alone, or low and high")
            return self
        if self.low is None or self.high is None:
            raise ValueError(f"give low and high or choices, as in {EXAMPLES}")
        if not self.low < self.high:
            raise ValueError(f"low = {shown(self.low)} is not below high = {shown(self.high)}")
        if self.log and self.low <= 0:
            raise ValueError(f"log = true needs low above 0, not {shown(self.low)}")
        return self

    @property
    def ends(self) -> tuple[Any, ...]:
        """The values that have to be allowed for all others to be: the ends, or each choice."""
        return (self.low, self.high) if self.choices is None else self.choices


class StudySpec(Spec):
    """What is trained, in which ranges, how often, and what is to be best.

    Without a model, an inference or data, those of ``train``.
    """

    model: str = "vae"
    inference: str | None = None
    data: str | None = None
    split: dict[str, Any] | None = None
    precision: Precision | None = None
    trials: Count = 50
    seed: Seed = 0
    objective: Objective = "validation ELBO"
    prune: bool = False
    settings: dict[str, Any] = Field(default_factory=dict)
    search: Annotated[dict[str, SearchSpec], Field(min_length=1)]


@dataclass(frozen=True)
class StudyFile:
    """A study file that was read.

    Attributes:
        path: Its path.
        spec: What it says, settings and ranges by dotted key.
        lines: Number of the line of each key.
    """

    path: Path
    spec: StudySpec
    lines: dict[str, int]

    @classmethod
    def read(cls, path: Path) -> StudyFile:
        """Read a study file.

        Raises:
            SpecError: There is none, it is no TOML, or has keys or values that are not allowed; a
                sentence each, with the line.
        """
        if not path.is_file():
            raise SpecError(f"there is no file '{short(str(path), 200)}'")
        tree = read_toml(path)
        lines = lines_of(path.read_text(encoding="utf-8"))
        if isinstance(settings := tree.get("settings"), dict):
            tree["settings"] = by_key(settings)
        wrong: dict[str, str] = {}
        if isinstance(search := tree.get("search"), dict):
            tree["search"] = dict(_ranges(search))
            for key, given in tree["search"].items():
                tree["search"][key] = _range(key, given, wrong)
        for key in {*tree.get("search", ())} & {*tree.get("settings", ())}:
            wrong[f"search.{key}"] = f"{key} has a value in [settings] as well: give one of them"
        try:
            if not wrong:
                return cls(path, StudySpec.__pydantic_validator__.validate_python(tree), lines)
        except ValidationError as error:
            wrong = explain(error, StudySpec, tree)
        raise SpecError("\n".join(_at(path, lines, *each) for each in wrong.items()))

    def blamed(self, error: SpecError) -> SpecError:
        """The error about a setting, with the line of the key that it begins with."""
        said = []
        for line in str(error).replace("--set ", "").splitlines():
            key = line.partition(": ")[0].partition("=")[0]
            tables = {"search": self.spec.search, "settings": self.spec.settings}
            place = next((f"{name}.{key}" for name, keys in tables.items() if key in keys), "")
            said.append(_at(self.path, self.lines, place, line))
        return SpecError("\n".join(said))


def lines_of(text: str) -> dict[str, int]:
    r"""The number of the line in which each dotted key of a TOML file has its value.

    Example:
        >>> lines_of('trials = 3\n[search]\n"inference.epochs" = {low = 1, high = 9}')
        {'trials': 1, 'search': 2, 'search.inference.epochs': 3}
    """
    found: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if header := HEADER.match(line):
            table = f"{_plain(header.group(1))}."
            found.setdefault(table[:-1], number)
        elif key := KEY.match(line):
            found.setdefault(table + _plain(key.group(1)), number)
    return found


def _plain(key: str) -> str:
    """A key without quotes and spaces."""
    return re.sub(r"[\s\"']", "", key)


def _ranges(tree: Tree, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Ranges by dotted key: what holds no further tables."""
    for key, value in tree.items():
        deeper = isinstance(value, dict) and any(isinstance(v, dict) for v in value.values())
        if deeper or (prefix + key in SECTIONS and isinstance(value, dict)):
            yield from _ranges(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _range(key: str, given: Any, wrong: dict[str, str]) -> Any:
    """The range of a key; notes what is wrong with it."""
    if not isinstance(given, dict):
        wrong[f"search.{key}"] = (
            f"{key} = {shown(given)} is one value: give it in [settings], or here a range, as in "
            f"{EXAMPLES}"
        )
        return given
    try:
        return SearchSpec.__pydantic_validator__.validate_python(given)
    except ValidationError as error:
        said = explain(error, SearchSpec, given)
        wrong[f"search.{key}"] = f"{key}: {'; '.join(said.values())}"
        return given


def _at(path: Path, lines: dict[str, int], key: str, sentence: str) -> str:
    """A sentence with its place: the line of the key, or of the table or list that it is in."""
    while key and key not in lines:
        key = key.rpartition(".")[0]
    return f"{path}, line {lines[key]}: {sentence}" if key else f"{path}: {sentence}"
