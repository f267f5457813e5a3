"""One page, in one file, that says whether a posterior can be trusted."""

from __future__ import annotations

import base64
import functools
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from jinja2 import Environment, PackageLoader, StrictUndefined

from pyrovae.diagnosis.check import Check, Grade, NotApplicable, Number, worse
from pyrovae.weights import write_atomically

WORDS: dict[Grade, str] = {"ok": "OK", "WARN": "Careful", "FAIL": "Fails"}
"""Grades as the page writes them."""

ARXIV = re.compile(r"(?:arXiv:?\s*)?\b(\d{4}\.\d{4,5})(?:v\d+)?\b", re.IGNORECASE)

CODE = re.compile(
    r"(--[a-z][\w-]*(?:[ =][\w.]+=[\w.-]*\w)?|\b[a-z_]{2,}(?:\.[a-z_]{2,})+(?:=[\w.]*\w)?)"
)
"""Options, and keys of specifications, with the values they are given."""


WORD = re.compile(r"(?!log |exp )[a-z]{2,}[ ,:;]|a ")
"""What can begin with a capital: words of the language."""


@runtime_checkable
class Drawing(Protocol):
    """What the page needs of a figure of matplotlib, which need not be imported for it."""

    def savefig(self, fname: Any, *, format: str) -> None:
        """Write the picture."""
        ...

    def get_suptitle(self) -> str:
        """Its title."""
        ...


class Picture(NamedTuple):
    """A picture of the page.

    Attributes:
        image: A figure of matplotlib, or the path of a PNG file.
        caption: How to read it; below the picture.
        alt: What is to be seen, for those who cannot see it; a figure's title if empty.
    """

    image: Drawing | Path
    caption: str = ""
    alt: str = ""


class Section(NamedTuple):
    """A question on the page.

    Attributes:
        check: The answer, or why there is none.
        picture: What shows it.
        seconds: How long the answer took; NaN if it was not measured.
    """

    check: Check | NotApplicable
    picture: Picture | None = None
    seconds: float = math.nan


@dataclass(frozen=True, kw_only=True)
class Page:
    """All that the page says. Every text is shown as it is: nothing in it is markup.

    Attributes:
        title: Name of the run.
        fitted: What was fitted, such as ``{"Prior p(z)": "Normal(0, 1)"}``, in that order.
        command: Command that makes the page again.
        date: When it was made.
        versions: Of Python, PyTorch, ..., by name.
        notes: What a reader must know before all else, such as "this run is unfinished".
        sections: The questions, in order.
        extremes: The worst, middling and best data.
        numbers: Numbers that belong to no question, such as the ELBO.
        seconds: How long all took.
    """

    title: str
    fitted: Mapping[str, str]
    command: str
    date: str
    versions: Mapping[str, str]
    sections: Sequence[Section]
    notes: Sequence[str] = ()
    extremes: Picture | None = None
    numbers: Sequence[Number] = field(default=())
    seconds: float = math.nan


class Overall(NamedTuple):
    """All answers as one.

    Attributes:
        grade: The most serious; ``None`` if no question could be asked.
        sentence: What it means, and what it rests on.
    """

    grade: Grade | None
    sentence: str


def overall(checks: Sequence[Check | NotApplicable]) -> Overall:
    """The answers to all questions as one sentence.

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


def write_report(path: str | Path, page: Page) -> None:
    """Write the page as one HTML file that needs no network, no script and no other file.

    Args:
        path: The file, usually ``report.html``; replaced if it exists, in one go.
        page: What it says.
    """
    write_atomically(Path(path), render(page).encode("utf-8"))


def render(page: Page) -> str:
    """The page as HTML. Whatever it says is escaped."""
    environment = Environment(
        loader=PackageLoader("pyrovae.diagnosis", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        data_uri=data_uri,
        alt=_alt,
        linked=linked,
        pieces=pieces,
        sentence=sentence,
        value=written,
        spread=_spread,
        time=_time,
    )
    checks = [section.check for section in page.sections]
    return environment.get_template("report.html.jinja").render(
        page=page,
        overall=overall(checks),
        words=WORDS,
        answers=[_Answer.of(section) for section in page.sections],
        tables=list(_tables(page)),
    )


def data_uri(image: Drawing | Path) -> str:
    """A picture as a PNG within an address."""
    if isinstance(image, Path):
        content = image.read_bytes()
    else:
        buffer = io.BytesIO()
        image.savefig(buffer, format="png")
        content = buffer.getvalue()
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def linked(reference: str) -> list[tuple[str, str]]:
    """Pieces of a reference, each with the address it leads to, which is empty for most.

    Example:
        >>> linked("Yao et al. 2018, arXiv:1802.02538, section 3")[1]
        ('arXiv:1802.02538', 'https://arxiv.org/abs/1802.02538')
    """
    pieces, end = [], 0
    for match in ARXIV.finditer(reference):
        pieces.append((reference[end : match.start()], ""))
        pieces.append((match.group(), f"https://arxiv.org/abs/{match.group(1)}"))
        end = match.end()
    pieces.append((reference[end:], ""))
    return [piece for piece in pieces if piece[0]]


def pieces(text: str) -> list[tuple[str, bool]]:
    """Pieces of a text, and whether each is an option or a key of a specification.

    Example:
        >>> pieces("use --set inference.guide.kind=iaf, e.g. once")
        [('use ', False), ('--set inference.guide.kind=iaf', True), (', e.g. once', False)]
    """
    found = [(piece, number % 2 == 1) for number, piece in enumerate(CODE.split(text))]
    return [piece for piece in found if piece[0]]


def sentence(text: str) -> str:
    """A finding as a sentence: it begins with a capital, unless with a symbol, and has an end.

    Example:
        >>> sentence("weights are constant"), sentence("log p(x) is low")
        ('Weights are constant.', 'log p(x) is low.')
    """
    if not text:
        return text
    if WORD.match(text):
        text = text[0].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else f"{text}."


def written(number: Number) -> str:
    """A number with its unit, to as many digits as its error leaves.

    Example:
        >>> written(Number("ELBO", -17.7612, "nats", "", error=0.123))
        '−17.76 nats'
        >>> written(Number("share above 0.7", 0.331, "fraction", "", interval=(0.28, 0.39)))
        '33.1 %'
    """
    factor, unit = _unit(number)
    value = _signed(number.value * factor, _digits(number))
    return value if math.isnan(number.value) else value + unit


def _spread(number: Number) -> str:
    """A number's error or interval, in its unit."""
    factor, unit = _unit(number)
    digits = _digits(number)
    parts = []
    if number.error is not None and math.isfinite(number.error):
        parts.append(f"± {_signed(number.error * factor, digits)}{unit}")
    if number.interval is not None:
        low, high = (_signed(end * factor, digits) for end in number.interval)
        parts.append(f"{low} to {high}{unit}")
    return ", ".join(parts)


def _unit(number: Number) -> tuple[float, str]:
    """What a value is multiplied by, and what stands behind it."""
    if number.unit == "fraction":
        return 100.0, " %"
    return 1.0, f" {number.unit}" if number.unit else ""


def _digits(number: Number) -> int:
    """Decimals: two digits of the error, or three of the value; one of a percentage."""
    factor, unit = _unit(number)
    if number.error and math.isfinite(number.error):
        size = number.error * factor
        return min(max(1 - math.floor(math.log10(size)), 0), 6)
    if unit == " %":
        return 1
    size = abs(number.value * factor)
    if not math.isfinite(size) or size == int(size):
        return 0
    return min(max(2 - math.floor(math.log10(size)), 0), 6)


def _signed(value: float, digits: int) -> str:
    if math.isnan(value):
        return "unknown"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if 0 < abs(value) < 1e-4:
        return f"{value:.1e}".replace("-", "−")
    text = f"{value:.{digits}f}"
    return text if float(text) == 0 and not text.startswith("-") else text.replace("-", "−")


def _time(seconds: float) -> str:
    """A duration; empty if it is not known."""
    if math.isnan(seconds):
        return ""
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min"


def _alt(picture: Picture) -> str:
    if picture.alt:
        return picture.alt
    image = picture.image
    return image.stem if isinstance(image, Path) else image.get_suptitle()


def _count(things: Sequence[Any], of: str, singular: str, plural: str) -> str:
    """How many, with a verb."""
    return f"{len(things)}{of} {singular if len(things) == 1 else plural}"


class _Answer(NamedTuple):
    """A section as the template reads it."""

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
        """Its verdict, or why there is none."""
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
            advice=verdict.advice,
            **shown,
        )


def _tables(page: Page) -> Iterator[tuple[str, Sequence[Number]]]:
    """Numbers by what they belong to."""
    if page.numbers:
        yield "Model and guide", page.numbers
    for section in page.sections:
        if isinstance(section.check, Check) and (numbers := section.check.numbers()):
            yield section.check.question, numbers
