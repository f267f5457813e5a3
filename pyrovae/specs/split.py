"""Splits into training, validation and test data. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from pyrovae.errors import SpecError, nearest, short, shown
from pyrovae.specs.files import parse_override

PARTS = ("train", "validation", "test")
TENTHS = (0.8, 0.1, 0.1)


@dataclass(frozen=True)
class Split:
    """A split of one's own. Names are of columns of a table, or of arrays in an ``.npz`` file.

    Attributes:
        fractions: Shares of training, validation and test data.
        group: Name of the groups, each of which is in one part alone; or an array.
        stratify: Name of the classes whose shares are the same in all parts; or an array.
        column: Name of the column that says "train", "validation" or "test"; or an array.
        rows: ``.npz`` file with the rows of each part, or a dictionary of arrays.
        validation: Validation data, a path or in memory; the data themselves are for training.
        test: Test data.

    Raises:
        SpecError: Values that are not allowed, or do not go together.
    """

    fractions: tuple[float, float, float] = TENTHS
    group: Any = None
    stratify: Any = None
    column: Any = None
    rows: Any = None
    validation: Any = None
    test: Any = None

    def __post_init__(self) -> None:
        _check_fractions(self.fractions)
        if (self.validation is None) != (self.test is None):
            there = "test" if self.validation is None else "validation"
            raise SpecError(f"split.{there} is given alone: give split.validation and split.test")
        drawn = [key for key in ("fractions", "group", "stratify") if self._has(key)]
        ways = [key for key in ("column", "rows", "validation") if self._has(key)]
        if len(ways) > 1 or (ways and drawn):
            both = " and ".join(f"split.{key}" for key in [*ways, *drawn][:2])
            raise SpecError(f"{both} are two ways to split: give one of them")

    def _has(self, key: str) -> bool:
        value = getattr(self, key)
        return value is not None and value is not TENTHS and key in _KEYS

    @classmethod
    def of(cls, given: Any) -> Split:
        """A split from three fractions or from values by key.

        Raises:
            SpecError: It is neither, or a key is not known.
        """
        if isinstance(given, Split):
            return given
        if isinstance(given, tuple | list):
            given = {"fractions": given}
        if not isinstance(given, Mapping):
            raise SpecError(
                f"split = {shown(given)}: give three fractions, such as (0.7, 0.1, 0.2), or a "
                "dictionary, such as {'group': 'patient'}"
            )
        for key in given:
            if key not in _KEYS:
                raise SpecError(f"split has no key '{key}'; {nearest(str(key), _KEYS)}")
        fractions = {"fractions": _numbers(given["fractions"])} if "fractions" in given else {}
        return cls(**{**given, **fractions})

    @property
    def names(self) -> tuple[str, ...]:
        """Names of columns that say how to split, and are no values."""
        named = (self.column, self.group, self.stratify)
        return tuple(dict.fromkeys(name for name in named if isinstance(name, str)))

    @property
    def files(self) -> tuple[str, ...]:
        """Paths that are read."""
        given = (self.rows, self.validation, self.test)
        return tuple(str(path) for path in given if isinstance(path, str | Path))

    def placed(self, folder: Path) -> Split:
        """The same split with paths from a folder, absolute."""
        paths: dict[str, Any] = {}
        for key in ("rows", "validation", "test"):
            if isinstance(path := getattr(self, key), str | Path):
                paths[key] = str(folder.absolute() / Path(path).expanduser())
        return replace(self, **paths)

    def recorded(self) -> dict[str, Any]:
        """The values by key, paths absolute, as ``run.json`` has them."""
        here = self.placed(Path())
        found = {key: getattr(here, key) for key in _KEYS if self._has(key)}
        return found or {"fractions": self.fractions}


_KEYS = tuple(field.name for field in fields(Split))


def parse_split(texts: list[str]) -> Split:
    """The split of a command line's ``KEY=VALUE``.

    Example:
        >>> parse_split(["group=patient", "fractions=0.6,0.2,0.2"]).fractions
        (0.6, 0.2, 0.2)

    Raises:
        SpecError: No ``=``, or as of :class:`Split`.
    """
    values = {}
    for text in texts:
        if "=" not in text:
            raise SpecError(
                f"--split {short(text, 80)}: expected KEY=VALUE, as in group=patient or "
                "fractions=0.7,0.1,0.2"
            )
        key, value = parse_override(text)
        values[key] = value if key == "fractions" else text.partition("=")[2]
    return Split.of(values)


def _numbers(given: Any) -> Any:
    """Fractions as a tuple; also those of a command line, parted by commas."""
    values = given.split(",") if isinstance(given, str) else given
    try:
        return tuple(float(value) for value in values)
    except (TypeError, ValueError):
        return given


def _check_fractions(given: Any) -> None:
    right = isinstance(given, tuple) and len(given) == len(PARTS)
    if not right or min(given) <= 0 or not math.isclose(sum(given), 1, abs_tol=1e-6):
        raise SpecError(
            f"split.fractions = {shown(given)}: give three positive numbers with sum 1, the "
            "shares of training, validation and test data, such as 0.7, 0.1, 0.2"
        )
