"""Exploration of a run: load, analyse, and write the results."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from pyrovae.compute.distributed import ALONE, Processes
from pyrovae.compute.modes import EVALUATION_SEED
from pyrovae.errors import DataError, PyrovaeError, SpecError
from pyrovae.exploration.names import TRAINING, USUAL
from pyrovae.exploration.result import Result
from pyrovae.report import console
from pyrovae.report.display import Display
from pyrovae.report.exploration_page import render
from pyrovae.runs.analyses import ANALYSES, CHECKS, FEW, Analysis, AnalysisContext
from pyrovae.runs.atomic_files import file_name, write_atomically, write_json
from pyrovae.runs.loading import Run
from pyrovae.runs.options import ExploreOptions
from pyrovae.runs.output_files import require_writable
from pyrovae.runs.processes import open_together
from pyrovae.runs.writing import versions

PAGE_DPI = 130  # sharp at the width of the page


def explore_run(
    options: ExploreOptions, command: str, display: Display, processes: Processes = ALONE
) -> list[Result]:
    """Analyse a run's latent space, show the findings, and write them to a folder.

    Each analysis is written as soon as it is done; one that does not apply does not stop the
    others. But nothing is done if it is plain beforehand that one of those asked for cannot work,
    as without known factors, and no model is trained after one has failed.

    Args:
        options: The request.
        command: The command line.
        display: Display of the findings.
        processes: The processes that share the analyses :data:`SHARED`, if only such are asked
            for. The first alone writes and shows.

    Raises:
        PyrovaeError: A run or data that cannot be opened, or a requested analysis that does not
            apply.
    """
    run = open_together(options, processes)
    return explore(run, options, command, display, processes)


def explore(
    run: Run,
    options: ExploreOptions,
    command: str,
    display: Display,
    processes: Processes = ALONE,
) -> list[Result]:
    """Analyse the latent space of a run that is loaded; see :func:`explore_run`."""
    observed = run.first(options.num or min(len(run.data.test), FEW))
    folder = _folder(options, run)
    asked = AnalysisContext(run, observed, options, folder, display, processes)

    def begin() -> None:
        _require_possible(asked)
        if processes.is_first:
            require_writable(folder)
            folder.mkdir(parents=True, exist_ok=True)  # fails before the work if it must

    processes.together(begin)
    notes = [*run.notes, *filter(None, [observed.note])]
    display.say(f"{run.folder} on {len(observed.batch)} test data of {run.data.name}")
    found: list[Result] = []
    refused: list[str] = []
    for name in sorted(options.what or USUAL, key=TRAINING.__contains__):
        if refused and name in TRAINING:
            refused.append(f"{name}: not trained, since another analysis cannot work")
            continue
        started = time.monotonic()
        try:
            analysis = ANALYSES[name](asked)
        except (DataError, SpecError) as error:
            refused.append(_refusal(name, error, asked))
            continue
        found.append(analysis.finding)
        if processes.is_first:
            _write(analysis, asked, command, notes, time.monotonic() - started)
            display.say(console.analysis(analysis.finding))
    page = folder / "report.html"
    if processes.is_first:
        write_atomically(page, render(folder, run.name, list(ANALYSES), versions()).encode())
    if options.what:
        processes.together(lambda: _raise(refused))
    without = [f"no {reason}" for reason in refused]
    display.say(
        console.written([*without, *notes], f"{page} and, for each analysis, .json and .png")
    )
    return found


def _require_possible(asked: AnalysisContext) -> None:
    """Refuse analyses of which it is plain beforehand that they cannot work.

    Raises:
        SpecError: There are some.
    """
    refused: list[str] = []
    for name in asked.options.what:
        try:
            CHECKS.get(name, lambda asked: None)(asked)
        except (DataError, SpecError) as error:
            refused.append(_refusal(name, error, asked))
    _raise(refused)


def _raise(refused: Sequence[str]) -> None:
    if refused:
        raise SpecError("\n".join(refused))


def _refusal(name: str, error: PyrovaeError, asked: AnalysisContext) -> str:
    return f"{name}: {asked.run.autoencoder.reworded(str(error))}"


def _folder(options: ExploreOptions, run: Run) -> Path:
    """Output folder: beside the run's files, one for each data set."""
    if options.output is not None:
        return options.output
    folder = run.folder / "exploration"
    return folder / file_name(run.data.name) if run.chosen else folder


def _write(
    analysis: Analysis, asked: AnalysisContext, command: str, notes: Sequence[str], seconds: float
) -> None:
    """Write the figures of an analysis, then its numbers, which name them."""
    finding, folder = analysis.finding, asked.folder
    pictures = []
    for number, drawn in enumerate(analysis.drawn):
        file = f"{finding.name}{f'-{number + 1}' if number else ''}.png"
        drawn.figure.savefig(folder / file, dpi=PAGE_DPI)
        alt = drawn.figure.get_suptitle()
        pictures.append({"file": file, "caption": drawn.caption, "alt": alt})
    pictures += [animation._asdict() for animation in analysis.animations]
    content = {
        "name": finding.name,
        "title": finding.title,
        "summary": finding.summary(),
        "numbers": {number.name: number._asdict() for number in finding.numbers()},
        "variables": {
            name: {**variable._asdict(), "values": variable.values.tolist()}
            for name, variable in finding.variables().items()
        },
        "pictures": pictures,
        "command": command,
        "versions": versions(),
        "run": str(asked.run.folder),
        "data": {"name": asked.run.data.name, "count": len(asked.observed.batch)},
        "seed": EVALUATION_SEED,
        "notes": list(notes),
        "seconds": seconds,
    }
    write_json(folder / f"{finding.name}.json", content)
