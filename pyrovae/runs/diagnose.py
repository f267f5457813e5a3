"""Diagnosis of a run: load, check, and write the report."""

from __future__ import annotations

import math
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import torch

from pyrovae.compute.distributed import ALONE, Processes
from pyrovae.compute.modes import EVALUATION_SEED
from pyrovae.diagnosis.diagnosis import Diagnosis, cost, diagnose, require_enough
from pyrovae.errors import SpecError
from pyrovae.evaluation.reconstruction import reconstruct
from pyrovae.evaluation.results import Check, NotApplicable
from pyrovae.objectives.schedules import describe_beta
from pyrovae.report import console
from pyrovae.report.diagnosis_page import Page, Section, render
from pyrovae.report.display import Display
from pyrovae.report.figures import checks, extremes, refinement
from pyrovae.report.pages import Picture
from pyrovae.runs.agreements import agreement_of
from pyrovae.runs.atomic_files import file_name, save_tree, write_atomically, write_json
from pyrovae.runs.loading import Observations, Run
from pyrovae.runs.options import DiagnoseOptions
from pyrovae.runs.output_files import require_writable
from pyrovae.runs.processes import open_together
from pyrovae.runs.writing import versions
from pyrovae.specs.computation import Computation

FEW = 256
"""Test data that are diagnosed, unless another number is given."""

OF_THE_GUIDE = ("bound", "importance weights", "calibration", "inference gap")
"""Questions in which a better guide can help."""

PAGE_DPI = 130  # sharp at the width of the page, with a page below a megabyte


@dataclass(frozen=True)
class Examination:
    """A diagnosis and its subject.

    Attributes:
        run: The run diagnosed.
        diagnosis: The result.
        command: Command line that reproduces it.
        notes: Notes for the reader.
    """

    run: Run
    diagnosis: Diagnosis
    command: str
    notes: Sequence[str]


def diagnose_run(
    options: DiagnoseOptions, command: str, display: Display, processes: Processes = ALONE
) -> Diagnosis:
    """Diagnose a run, show the verdicts, and write them to a folder.

    Args:
        options: The request.
        command: The command line.
        display: Display of the verdicts.
        processes: The processes that share what ``full`` adds. The first alone writes and shows.

    Raises:
        PyrovaeError: A run or data that cannot be opened, or too few data or draws.
    """
    run = open_together(options, processes)
    return report(run, options, command, display, processes)


def report(
    run: Run,
    options: DiagnoseOptions,
    command: str,
    display: Display,
    processes: Processes = ALONE,
) -> Diagnosis:
    """Diagnose a run that is loaded; see :func:`diagnose_run`."""
    started = time.monotonic()
    num = min(len(run.data.test), FEW) if options.num is None else options.num
    folder = folder_of(options, run)

    def begin() -> Observations:
        require_enough(run.data.test.first(num), options.draws)
        if processes.is_first:
            require_writable(folder)
            (folder / "figures").mkdir(parents=True, exist_ok=True)  # fails before the work
        return run.first(num)

    observed = processes.together(begin)
    reworded = run.autoencoder.reworded
    display.say(f"{run.folder} on {len(observed.batch)} test data of {run.data.name}")
    if options.full and processes.is_first:
        seconds = cost(run.autoencoder, observed.batch) / processes.size
        display.say(f"--full takes about {console.duration(seconds)}")
    diagnosis = diagnose(
        run.autoencoder,
        run.data.test,
        num=num,
        draws=options.draws,
        full=options.full,
        history=run.records,
        tell=lambda outcome: display.say(console.outcome(outcome, reworded)),
        computation=Computation(options.compile),
        processes=processes,
    )
    if not processes.is_first:
        return diagnosis
    notes = [*run.notes, *filter(None, [observed.note, better_guide(run, diagnosis)])]
    found = write(Examination(run, diagnosis, command, notes), folder, started)
    display.say(
        console.written(found.notes, f"{folder}: report.html, posterior.nc, numbers.json, ...")
    )
    return diagnosis


def better_guide(run: Run, diagnosis: Diagnosis) -> str:
    """The command that fits a better guide, where the guide is at fault."""
    verdicts = {check.question: check.verdict().grade for check in diagnosis.checks}
    if all(verdicts.get(question, "ok") == "ok" for question in OF_THE_GUIDE):
        return ""
    command = f"python -m pyrovae.refine {shlex.quote(str(run.folder))}"
    if run.facts.refined is None:
        return f"a better guide for this very model: {command}"
    return f"this guide was refined already, and {command} --minutes 20 goes on from it"


def write(found: Examination, folder: Path, started: float) -> Examination:
    """Write ``report.html``, the trees for ArviZ, ``numbers.json`` and ``figures/``.

    Args:
        found: The diagnosis and its subject.
        folder: Output folder, which contains a folder ``figures``.
        started: Start of the examination, by ``time.monotonic``.

    Returns:
        The examination, with a note on what could not be drawn.
    """
    sections = [_section(outcome, found, folder) for outcome in found.diagnosis.outcomes]
    try:
        extreme = _extremes(found, folder)
    except SpecError as error:
        extreme, found = None, replace(found, notes=[*found.notes, f"no pictures: {error}"])
    _save_trees(found, folder)
    seconds = time.monotonic() - started
    write_json(folder / "numbers.json", _numbers(found, seconds))
    page = _page(found, sections, extreme, seconds, folder)
    write_atomically(folder / "report.html", render(page).encode())
    return found


def folder_of(options: DiagnoseOptions, run: Run) -> Path:
    """Output folder: beside the run's files, one for each data set."""
    if options.output is not None:
        return options.output
    folder = run.folder / "diagnosis"
    return folder / file_name(run.data.name) if run.chosen else folder


def _section(outcome: Check | NotApplicable, found: Examination, folder: Path) -> Section:
    """A verdict with its figure, which is also written to a file."""
    drawn = checks.picture(outcome, found.diagnosis) if isinstance(outcome, Check) else None
    picture = None if drawn is None else _kept(drawn, folder, outcome.question)
    seconds = found.diagnosis.seconds[outcome.question]
    return Section(outcome, picture, seconds, found.run.autoencoder.reworded)


def _extremes(found: Examination, folder: Path) -> Picture:
    """The observations least, medium and most likely under the model."""
    diagnosis, run = found.diagnosis, found.run
    known = {name: v.values for check in diagnosis.checks for name, v in check.variables().items()}
    unknown = torch.full((len(diagnosis.x),), math.nan)
    elbo = torch.as_tensor(known.get("elbo", diagnosis.draws.log_weight.mean(0)))
    log_prob = torch.as_tensor(known.get("log_prob", unknown))
    khat = torch.as_tensor(known.get("khat", unknown))
    chosen = extremes.choose(elbo if log_prob.isnan().all() else log_prob)
    cases = [
        extremes.Case(kind, n, log_prob[n].item(), elbo[n].item(), khat[n].item())
        for kind, numbers in chosen.items()
        for n in numbers
    ]
    batch = diagnosis.batch[torch.tensor([case.number for case in cases])]
    means = reconstruct(run.autoencoder, batch.to(run.device))
    figure = extremes.extremes(run.data.test, batch.x, means.cpu(), cases)
    return _kept(checks.CaptionedFigure(figure, extremes.CAPTION), folder, "extremes")


def _kept(drawn: checks.CaptionedFigure, folder: Path, name: str) -> Picture:
    """Draw the figure once for the page and for a file."""
    path = folder / "figures" / f"{file_name(name)}.png"
    drawn.figure.savefig(path, dpi=PAGE_DPI)
    return Picture(path, drawn.caption, drawn.figure.get_suptitle())


def _save_trees(found: Examination, folder: Path) -> None:
    """``posterior.nc``, and ``chains.nc`` where there are chains."""
    attrs = {"run": str(found.run.folder), "command": found.command}
    save_tree(found.diagnosis.tree(attrs), folder / "posterior.nc")
    chains = found.diagnosis.chain_tree(attrs)
    if chains is not None:
        save_tree(chains, folder / "chains.nc")


def _page(
    found: Examination,
    sections: Sequence[Section],
    extreme: Picture | None,
    seconds: float,
    folder: Path,
) -> Page:
    run = found.run
    return Page(
        title=run.name,
        fitted=_fitted(run),
        command=found.command,
        date=date.today().isoformat(),
        versions=versions(),
        notes=found.notes,
        sections=sections,
        extremes=extreme,
        refined=_refined(run, folder),
        seconds=seconds,
    )


def _refined(run: Run, folder: Path) -> Picture | None:
    """The guide before and after, if the run is a finished refinement."""
    refined = run.facts.refined
    if refined is None or refined.before is None or refined.after is None:
        return None
    both = (agreement_of(facts) for facts in (refined.before, refined.after))
    caption = f"{refinement.CAPTION} The run before is {refined.run}."
    drawn = checks.CaptionedFigure(refinement.refinement(*both), caption)
    return _kept(drawn, folder, "refinement")


def _fitted(run: Run) -> dict[str, str]:
    """Description of the fitted model."""
    formulas, spec = run.autoencoder.formulas(), run.inference
    test = run.data.test
    parameters = sum(parameter.numel() for parameter in run.autoencoder.parameters())
    return {
        "Prior p(z)": formulas.prior,
        "Likelihood p(x | z)": formulas.likelihood,
        "Guide q(z | x)": formulas.guide,
        "Objective": run.facts.objective or spec.objective.kind,
        "β": describe_beta(spec.beta),
        "Fitted to": f"{run.source}, up to {spec.epochs} epochs",
        "Checked on": f"test data of {test.name}",
        "Parameters": f"{parameters:,}",
    }


def _numbers(found: Examination, seconds: float) -> dict[str, Any]:
    """All results as JSON; unknown values are null."""
    diagnosis = found.diagnosis
    return {
        "command": found.command,
        "versions": versions(),
        "run": str(found.run.folder),
        "data": {"name": diagnosis.name, "count": len(diagnosis.x)},
        "draws": len(diagnosis.draws.z),
        "seed": EVALUATION_SEED,
        "notes": list(found.notes),
        "grade": diagnosis.grade,
        "checks": {
            outcome.question: {
                **_answer(outcome, found.run.autoencoder.reworded),
                "seconds": diagnosis.seconds[outcome.question],
            }
            for outcome in diagnosis.outcomes
        },
        "seconds": seconds,
    }


def _answer(outcome: Check | NotApplicable, reworded: Callable[[str], str]) -> dict[str, Any]:
    if isinstance(outcome, NotApplicable):
        return {"does_not_apply": outcome.why}
    numbers = {number.name: number._asdict() for number in outcome.numbers()}
    verdict = outcome.verdict()
    return {**verdict._asdict(), "advice": reworded(verdict.advice), "numbers": numbers}
