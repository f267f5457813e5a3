"""HTML of objects for display in a notebook. Imports nothing else of the package."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

CELL = "text-align:left;vertical-align:top;padding:0.2em 1em 0.2em 0"
COLOURS = ("#22577a", "#e4572e")
WIDTH, HEIGHT, MARGIN = 480, 160, 4
"""Pixels of a curve, and between it and its border."""


def card(title: str, *parts: str) -> str:
    """A heading, which is escaped, above parts, which are HTML."""
    return f"<div><strong>{escape(title)}</strong>{''.join(parts)}</div>"


def paragraph(text: str) -> str:
    """A paragraph of a text, which is escaped."""
    return f"<p>{escape(text)}</p>" if text else ""


def preformatted(text: str) -> str:
    """A text in lines, such as a file, which is escaped."""
    return f"<pre>{escape(text)}</pre>"


def table(rows: Mapping[str, object]) -> str:
    """A table of names and values, both escaped."""
    return grid((), rows.items())


def grid(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table with a line of headings, if there are any; all cells are escaped.

    Example:
        >>> "&lt;b&gt;" in grid(["name"], [["<b>"]])
        True
    """
    head = _row("th", columns) if columns else ""
    return f"<table>{head}{''.join(_row('td', row) for row in rows)}</table>"


def images(pixels: Any, alt: str) -> str:
    """A line of images.

    Args:
        pixels: uint8 NumPy array ``(height, width)`` or ``(height, width, 3)``.
        alt: Text for readers who do not see it.
    """
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    data = base64.b64encode(buffer.getvalue()).decode()
    style = "height:48px;max-width:100%;image-rendering:pixelated"
    source = f"data:image/png;base64,{data}"
    return f'<div><img style="{style}" alt="{escape(alt)}" src="{source}"></div>'


def curves(lines: Mapping[str, Sequence[float]]) -> str:
    """Lines over 1, 2, ... as an SVG image on one scale, with its ends and a legend.

    Values that are not finite are left out; those far below most others are at the bottom.
    """
    known = sorted(v for line in lines.values() for v in line if math.isfinite(v))
    if not known:
        return ""
    high, tenth = known[-1], known[len(known) // 10]
    low = max(known[0], 2 * tenth - high)
    drawn = "".join(
        f'<polyline fill="none" stroke="{colour}" stroke-width="2" '
        f'points="{_points(line, low, high)}"/>'
        for colour, line in zip(COLOURS, lines.values(), strict=False)
    )
    names = " ".join(
        f'<span style="color:{colour}">━ {escape(name)}</span>'
        for colour, name in zip(COLOURS, lines, strict=False)
    )
    style = "max-width:100%;border:1px solid #b9bec6"
    return (
        f'<div><svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" style="{style}">{drawn}</svg>'
        f"<br>{names}, from {low:.1f} (bottom) to {high:.1f} (top)</div>"
    )


def _points(line: Sequence[float], low: float, high: float) -> str:
    """The points of a line, in pixels from the upper left corner."""
    across = (WIDTH - 2 * MARGIN) / max(len(line) - 1, 1)
    down = (HEIGHT - 2 * MARGIN) / ((high - low) or 1.0)
    return " ".join(
        f"{MARGIN + across * place:.1f},{MARGIN + down * (high - max(value, low)):.1f}"
        for place, value in enumerate(line)
        if math.isfinite(value)
    )


def _row(tag: str, cells: Iterable[object]) -> str:
    inner = "".join(f'<{tag} style="{CELL}">{escape(str(cell))}</{tag}>' for cell in cells)
    return f"<tr>{inner}</tr>"
