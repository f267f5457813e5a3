"""Self-contained HTML page of a diagnosis."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pyrovae.evaluation.results import Check, Grade, NotApplicable, Number, worse
from pyrovae.report.pages import Picture, environment

WORDS: dict[Grade, str] = {"ok": "OK", "WARN": "Careful", "FAIL": "Fails"}
"""Words of the page for the grades."""


class Section(NamedTuple):
    """A question on the page.

    Attributes:
        check: The answer, or why there is none.
        picture: Figure of the answer.
        seconds: Time taken by the check; NaN if it was not measured.
        reworded: Advice in the words of what the user wrote.
    """

    check: Check | NotApplicable
    picture: Picture | None = None
    seconds: float = math.nan
    reworded: Callable[[str], str] = str


@dataclass(frozen=True, kw_only=True)
class Page:
    """Contents of the page. Every text is escaped: none of it is markup.

    Attributes:
        title: Name of the run.
        fitted: Description of the model, such as ``{"Prior p(z)": "Normal(0, 1)"}``, in that
            order.
        command: Command that makes the page again.
        date: When it was made.
        versions: Versions of Python, PyTorch, ..., by name.
        notes: Remarks at the top, such as "this run is unfinished".
        sections: The questions, in order.
        extremes: The worst, middling and best data.
        refined: The guide before and after its refinement.
        numbers: Numbers that belong to no question, such as the ELBO.
        seconds: Total time.
    """

    title: str
    fitted: Mapping[str, str]
    command: str
    date: str
    versions: Mapping[str, str]
    sections: Sequence[Section]
    notes: Sequence[str] = ()
    extremes: Picture | None = None
    refined: Picture | None = None
    numbers: Sequence[Number] = field(default=())
    seconds: float = math.nan


class Overall(NamedTuple):
    """Overall verdict.

    Attributes:
        grade: The most serious grade; ``None`` if no check applies.
        sentence: Its meaning, and the checks that it rests on.
    """

    grade: Grade | None
    sentence: str


def overall(checks: Sequence[Check | NotApplicable]) -> Overall:
    """Summarise the answers to all questions in one sentence.

    Example:
        >>> overall([NotApplicable("chains", "the code is discrete")])
        Overall(grade=None, sentence='No check applies to this model, so nothing is known of how
        far its posterior can be trusted.')
    """
    answered = [check for check in checks if isinstance(check, Check)]
    if not answered:
        return Overall(
            None,
            "No check applies to this model, so nothing is known of how far its posterior can be "
            "trusted.",
        )
    grades: dict[str, Grade] = {check.question: check.verdict().grade for check in answered}
    failed = [question for question, grade in grades.items() if grade == "FAIL"]
    careful = [question for question, grade in grades.items() if grade == "WARN"]
    worst = functools.reduce(worse, grades.values())
    of = f" of {len(grades)} checks"
    fail = f"{_count(failed, of, 'fails', 'fail')} ({joined(failed)})"
    match worst:
        case "ok":
            passed = "the one check made" if len(grades) == 1 else f"all {len(grades)} checks"
            sentence = f"Nothing speaks against this posterior: {passed} passed"
        case "WARN":
            asked = f"{_count(careful, of, 'asks', 'ask')} for it ({joined(careful)})"
            sentence = f"This posterior can be used with care: {asked}, none fails"
        case "FAIL":
            sentence = f"Do not rely on this posterior as it is: {fail}"
            if careful:
                sentence += f" and {_count(careful, '', 'asks', 'ask')} for care"
                sentence += f" ({joined(careful)})"
    if skipped := [check for check in checks if isinstance(check, NotApplicable)]:
        sentence += f"; {_count(skipped, '', 'does', 'do')} not apply"
    return Overall(worst, f"{sentence}.")


def joined(words: Sequence[str]) -> str:
    """Words in a list.

    Example:
        >>> joined(["a", "b", "c"]), joined(["a"])
        ('a, b and c', 'a')
    """
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def render(page: Page) -> str:
    """Render the page as self-contained HTML, without scripts; texts are escaped."""
    checks = [section.check for section in page.sections]
    return (
        environment()
        .get_template("report.html.jinja")
        .render(
            page=page,
            overall=overall(checks),
            words=WORDS,
            answers=[_Answer.of(section) for section in page.sections],
            tables=list(_tables(page)),
        )
    )


def _count(things: Sequence[Any], of: str, singular: str, plural: str) -> str:
    """Format a count with its verb."""
    return f"{len(things)}{of} {singular if len(things) == 1 else plural}"


class _Answer(NamedTuple):
    """A section in the form that the template needs."""

    anchor: str
    question: str
    grade: Grade | None
    word: str
    finding: str
    advice: str
    picture: Picture | None
    seconds: float

    @classmethod
    def of(cls, section: Section) -> _Answer:
        """Build it from the verdict, or from the reason why there is none."""
        question = section.check.question
        shown: dict[str, Any] = {
            "anchor": re.sub(r"[^a-z0-9]+", "-", question.lower()).strip("-"),
            "question": question,
            "picture": section.picture,
            "seconds": section.seconds,
        }
        if isinstance(section.check, NotApplicable):
            return cls(
                grade=None, word="Does not apply", finding=section.check.why, advice="", **shown
            )
        verdict = section.check.verdict()
        return cls(
            grade=verdict.grade,
            word=WORDS[verdict.grade],
            finding=verdict.finding,
            advice=section.reworded(verdict.advice),
            **shown,
        )


def _tables(page: Page) -> Iterator[tuple[str, Sequence[Number]]]:
    """Group numbers into tables."""
    if page.numbers:
        yield "Model and guide", page.numbers
    for section in page.sections:
        if isinstance(section.check, Check) and (numbers := section.check.numbers()):
            yield section.check.question, numbers
