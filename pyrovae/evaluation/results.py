"""Results of a check: a verdict in words, numbers, and arrays."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

from numpy.typing import NDArray

from pyrovae import notebook

Grade = Literal["ok", "WARN", "FAIL"]


class Verdict(NamedTuple):
    """Result of a check in a line.

    Attributes:
        grade: "ok", "WARN" or "FAIL".
        finding: The principal numbers, in words.
        advice: What to do about it; empty if nothing need be done.
    """

    grade: Grade
    finding: str
    advice: str = ""


class Number(NamedTuple):
    """A number of the report.

    Attributes:
        name: Name in the literature.
        value: Value; NaN where it could not be computed.
        unit: "nats", "fraction", "", ...
        definition: Definition, in a sentence.
        reference: Reference, with an arXiv id; empty for our own numbers.
        error: Standard error, where there is one.
        interval: Interval, of 95 % unless the definition says otherwise, where there is one.
    """

    name: str
    value: float
    unit: str
    definition: str
    reference: str = ""
    error: float | None = None
    interval: tuple[float, float] | None = None

    @property
    def written(self) -> str:
        """Value, unit and uncertainty, with four digits."""
        error = "" if self.error is None else f" ± {self.error:.2g}"
        ends = "" if self.interval is None else " [{:.4g}, {:.4g}]".format(*self.interval)
        return f"{self.value:.4g}{error}{ends} {self.unit}".rstrip()


class Variable(NamedTuple):
    """An array with named dimensions: "obs", "latent", "chain", "draw", "simulation", ...

    Attributes:
        dims: Name of each axis.
        values: The array.
        description: Description, with the unit.
    """

    dims: tuple[str, ...]
    values: NDArray[Any]
    description: str


class Check(ABC):
    """Check of a posterior: verdict, numbers and arrays.

    Attributes:
        question: Subject in a word or two, the heading in report and terminal.
    """

    question: str

    def __repr__(self) -> str:
        grade, finding, _ = self.verdict()
        return f"{type(self).__name__}({grade}: {finding})"

    def _repr_html_(self) -> str:
        grade, finding, advice = self.verdict()
        parts = map(notebook.paragraph, (finding, advice))
        return notebook.card(f"{self.question}: {grade}", *parts, numbers_table(self.numbers()))

    @abstractmethod
    def verdict(self) -> Verdict:
        """Grade, finding and advice."""

    @abstractmethod
    def numbers(self) -> list[Number]:
        """All numbers, with their definitions."""

    @abstractmethod
    def variables(self) -> dict[str, Variable]:
        """Arrays by name, for the group "diagnostics" of the tree that ArviZ reads."""


class NotApplicable(NamedTuple):
    """A check that does not apply.

    Attributes:
        question: Subject of the check.
        why: Reason and remedy, a sentence.
    """

    question: str
    why: str


def numbers_table(numbers: Iterable[Number]) -> str:
    """Numbers and their definitions as HTML for a notebook."""
    rows = [(number.name, number.written, number.definition) for number in numbers]
    return notebook.grid(("number", "value", "definition"), rows)


def worse(first: Grade, second: Grade) -> Grade:
    """The more serious of two grades.

    Example:
        >>> worse("WARN", "ok")
        'WARN'
    """
    order = ("ok", "WARN", "FAIL")
    return first if order.index(first) > order.index(second) else second


def grade(value: float, warn: float, fail: float) -> Grade:
    """Grade of a number that should be small, by two thresholds; FAIL for NaN.

    Example:
        >>> [grade(value, warn=0.05, fail=0.3) for value in (0.01, 0.05, 0.4, float("nan"))]
        ['ok', 'WARN', 'FAIL', 'FAIL']
    """
    if value < warn:
        return "ok"
    return "WARN" if value < fail else "FAIL"


def percent(fraction: float) -> str:
    """A fraction as a percentage, for findings and figures.

    Example:
        >>> percent(0.331), percent(0.004), percent(0.0)
        ('33 %', '0.4 %', '0 %')
    """
    digits = 1 if 0 < fraction < 0.0995 or 0.9005 < fraction < 1 else 0
    return f"{100 * fraction:.{digits}f} %"
