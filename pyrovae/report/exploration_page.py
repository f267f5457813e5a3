"""HTML page of all analyses of a run's latent space."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from pyrovae.evaluation.results import Number
from pyrovae.report.pages import Picture, environment


class PageEntry(NamedTuple):
    """An analysis of the latent space, as in its JSON file."""

    name: str
    title: str
    summary: str
    notes: Sequence[str]
    pictures: Sequence[Picture]
    numbers: Sequence[Number]
    command: str
    seconds: float


def render(folder: Path, title: str, names: Sequence[str], versions: Mapping[str, str]) -> str:
    """Render one self-contained HTML page of all analyses whose JSON files are in a folder.

    Args:
        folder: Folder of the JSON files.
        title: Name of the run.
        names: Names of the analyses, in the order in which they are shown.
        versions: Versions of Python, PyTorch, ..., by name.
    """
    files = [folder / f"{name}.json" for name in names]
    analyses = [_shown(file) for file in files if file.is_file()]
    return (
        environment()
        .get_template("exploration.html.jinja")
        .render(
            title=title,
            date=date.today().isoformat(),
            versions=versions,
            analyses=analyses,
            tables=[
                (analysis.title, analysis.numbers) for analysis in analyses if analysis.numbers
            ],
        )
    )


def _shown(file: Path) -> PageEntry:
    facts: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    pictures = [
        Picture(file.parent / picture["file"], picture["caption"], picture["alt"])
        for picture in facts["pictures"]
        if (file.parent / picture["file"]).is_file()
    ]
    return PageEntry(
        facts["name"],
        facts["title"],
        facts["summary"],
        facts["notes"],
        pictures,
        [_number(number) for number in facts["numbers"].values()],
        facts["command"],
        facts["seconds"],
    )


def _number(written: dict[str, Any]) -> Number:
    """Convert JSON's stand-ins for numbers that are not finite."""
    value, interval = written["value"], written["interval"]
    return Number(
        **{
            **written,
            "value": math.nan if value is None else value,
            "interval": None if interval is None or None in interval else tuple(interval),
        }
    )
