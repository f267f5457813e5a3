"""Building blocks of HTML pages: embedded pictures and formatted numbers."""

from __future__ import annotations

import base64
import io
import math
import re
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from jinja2 import Environment, PackageLoader, StrictUndefined

from pyrovae.evaluation.results import Number
from pyrovae.report.console import duration

ARXIV = re.compile(r"(?:arXiv:?\s*)?\b(\d{4}\.\d{4,5})(?:v\d+)?\b", re.IGNORECASE)

CODE = re.compile(
    r"(--[a-z][\w-]*(?:[ =][\w.]+=[\w.-]*\w)?|\b[a-z_]{2,}(?:\.[a-z_]{2,})+(?:=[\w.]*\w)?)"
)
"""Options, and keys of specifications, with the values they are given."""


WORD = re.compile(r"(?!log |exp )[a-z]{2,}[ ,:;]|a ")
"""Words that can be capitalised."""


@runtime_checkable
class Drawing(Protocol):
    """Interface of a matplotlib figure, so that matplotlib need not be imported."""

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
        caption: Explanation below the picture.
        alt: Alternative text; a figure's title if empty.
    """

    image: Drawing | Path
    caption: str = ""
    alt: str = ""


def environment() -> Environment:
    """Return the Jinja environment of the templates, with escaping on."""
    made = Environment(
        loader=PackageLoader("pyrovae.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        data_uri=data_uri,
        alt=alt,
        linked=linked,
        pieces=pieces,
        sentence=sentence,
        value=written,
        spread=spread,
        time=duration,
    )
    return made


def data_uri(image: Drawing | Path) -> str:
    """Encode a picture as a data URI: a file as it is, a figure as a PNG."""
    if isinstance(image, Path):
        content, kind = image.read_bytes(), image.suffix.removeprefix(".")
    else:
        buffer = io.BytesIO()
        image.savefig(buffer, format="png")
        content, kind = buffer.getvalue(), "png"
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


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
    """Split a text into pieces, each marked as an option or key, or as prose.

    Example:
        >>> pieces("use --set inference.guide.kind=iaf, e.g. once")
        [('use ', False), ('--set inference.guide.kind=iaf', True), (', e.g. once', False)]
    """
    found = [(piece, number % 2 == 1) for number, piece in enumerate(CODE.split(text))]
    return [piece for piece in found if piece[0]]


def sentence(text: str) -> str:
    """Format a finding as a sentence, with a capital (except for symbols) and a full stop.

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
    """Format a number with its unit, to the digits that its error allows.

    Example:
        >>> written(Number("ELBO", -17.7612, "nats", "", error=0.123))
        '−17.76 nats'
        >>> written(Number("share above 0.7", 0.331, "fraction", "", interval=(0.28, 0.39)))
        '33.1 %'
    """
    factor, unit = _unit(number)
    value = _signed(number.value * factor, _digits(number))
    return value if math.isnan(number.value) else value + unit


def spread(number: Number) -> str:
    """Format a number's error or interval, in its unit."""
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
    """Return the factor and the symbol of a unit."""
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


def alt(picture: Picture) -> str:
    """Return the alternative text."""
    if picture.alt:
        return picture.alt
    image = picture.image
    return image.stem if isinstance(image, Path) else image.get_suptitle()
