"""HTML page of the trials of a sweep."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path

from pyrovae.report.pages import Picture, environment
from pyrovae.report.trials import Sweep, Trial, in_words, short_names, written

REPORTS = ("diagnosis/report.html", "exploration/report.html")
"""Pages that a run's folder may have."""


def render(found: Sweep, title: str, best: str, command: str, versions: Mapping[str, str]) -> str:
    """Render one HTML page of all trials, with links to the folders of their runs.

    Args:
        found: The trials.
        title: Name of the study.
        best: Command line that trains the best trial; empty if none has finished.
        command: Command line of the sweep.
        versions: Versions of Python, PyTorch, ..., by name.
    """
    ranked = found.ranked()
    return (
        environment()
        .get_template("study.html.jinja")
        .render(
            title=title,
            date=date.today().isoformat(),
            summary=found.summary(),
            best=best,
            command=command,
            versions=versions,
            objective=found.objective,
            names=short_names(list(found.keys)),
            rows=[
                (trial, in_words(trial), _values(trial, found), _link(trial)) for trial in ranked
            ],
            failed=found.of("failed"),
            picture=_picture(found, title),
        )
    )


def _picture(found: Sweep, title: str) -> Picture | None:
    if found.best is None:
        return None
    from pyrovae.report.figures.study import CAPTION, trials

    return Picture(trials(found, title), CAPTION)


def _values(trial: Trial, found: Sweep) -> list[str]:
    return [written(trial.values.get(key)) for key in found.keys]


def _link(trial: Trial) -> str:
    """Where a trial leads, from the sweep's folder: its page, or its folder; empty without one."""
    if not trial.folder.is_dir():
        return ""
    page = next((page for page in REPORTS if (trial.folder / page).is_file()), "")
    return (Path(trial.name) / page).as_posix()
