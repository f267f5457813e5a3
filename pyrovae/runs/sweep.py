"""A process of a sweep: trains one trial of the study after the other, until all are taken."""

from __future__ import annotations

import shlex
import signal
from dataclasses import replace

from pyrovae.data import Splits, load_data
from pyrovae.errors import PyrovaeError, SpecError, message
from pyrovae.evaluation.bound import evaluate
from pyrovae.report.display import Bars, Display
from pyrovae.report.trials import Sweep, table, written
from pyrovae.runs.atomic_files import write_atomically
from pyrovae.runs.command_line import Terminated, lack_of_memory
from pyrovae.runs.facts import CHECKPOINT
from pyrovae.runs.metrics_file import read_metrics
from pyrovae.runs.study import Study
from pyrovae.runs.train import TrainedRun, train
from pyrovae.runs.trials import FIELDS, Claim, Trials, imported
from pyrovae.runs.writing import versions

PAGE = "study.html"


def sweep(study: Study, command: str, display: Display) -> Sweep:
    """Train trials of a study until all are taken, beside any other processes that do so.

    A trial that cannot work, diverges or runs out of memory has failed, and the sweep goes on.

    Args:
        study: The study, from :meth:`pyrovae.runs.study.Study.read`.
        command: The command line.
        display: Display of the trials.

    Returns:
        All trials, those of other processes among them.

    Raises:
        PyrovaeError: Data that cannot be read, or a folder of another study, or all trials have
            failed.
        KeyboardInterrupt: A trial was interrupted; its finished steps are kept.
    """
    imported()
    request = study.request(study.usual)
    data = load_data(request.data, split=request.split, root=request.data_root)
    trials = Trials(study, study.declared(data.fingerprint()))
    display.say(f"{study.folder}: {trials.sweep().summary()}")
    while claim := trials.claim():
        _announce(claim, display)
        try:
            _train(claim, trials, study, data, display)
        except KeyboardInterrupt as stop:
            trials.leave(claim)
            raise type(stop)(f"interrupted; go on with the same line\n  {command}") from None
        finally:
            claim.lock.release()
        display.say(table(_write_page(trials, study, command)))
    found = _write_page(trials, study, command)
    display.say(_end(found, study))
    failed = found.of("failed")
    if len(failed) == len(found.trials):
        raise SpecError(f"all {len(failed)} trials have failed; the last: {failed[-1].why}")
    return found


def _train(claim: Claim, trials: Trials, study: Study, data: Splits, display: Display) -> None:
    """Train a trial, or go on with it, and note what has become of it."""
    try:
        trained = _run(claim, trials, study, data, display)
    except PyrovaeError as error:
        _fail(claim, trials, message(error), display)
        return
    except (MemoryError, RuntimeError) as error:
        if not (why := lack_of_memory(error)):
            raise
        _fail(claim, trials, why, display)
        return
    training = trained.training
    if training.interrupted:
        raise Terminated if trained.signal == signal.SIGTERM else KeyboardInterrupt
    spread = None
    if study.spec.objective == "validation ELBO":
        validation = training.splits.validation
        spread = evaluate(training.autoencoder, validation, training.objective).standard_error
    trials.finish(claim, objective(trained, study), spread, pruned=training.satisfied)


def _fail(claim: Claim, trials: Trials, why: str, display: Display) -> None:
    trials.fail(claim, why)
    display.say(f"{claim.folder.name} failed: {why}")


def _run(claim: Claim, trials: Trials, study: Study, data: Splits, display: Display) -> TrainedRun:
    """The run of a trial, which goes on where it was saved."""
    begun = (claim.folder / CHECKPOINT).is_file()
    request = replace(
        study.request(claim.values), output=claim.folder, resume=claim.folder if begun else None
    )
    command = study.command(claim.values, "--output", str(claim.folder))
    return train(request, command, Bars(display), data, watching=[trials.watching(claim)])


def objective(trained: TrainedRun, study: Study) -> float:
    """The objective of the weights that the run keeps."""
    kept = trained.training.kept.epoch
    records = [each for each in read_metrics(trained.folder) if each["split"] == "validation"]
    (value,) = (each[FIELDS[study.spec.objective]] for each in records if each["epoch"] == kept)
    return value


def _announce(claim: Claim, display: Display) -> None:
    values = ", ".join(f"{key} = {written(value)}" for key, value in claim.values.items())
    display.say(f"\n{claim.folder.name}{' goes on' if claim.taken_up else ''}: {values}")


def _write_page(trials: Trials, study: Study, command: str) -> Sweep:
    """Write the page of the trials; one process at a time, so that the last has all."""
    from pyrovae.report.study_page import render

    with trials.alone():
        found = trials.sweep()
        line = "" if found.best is None else study.command(found.best.values)
        page = render(found, study.file.path.stem, line, command, versions())
        write_atomically(found.folder / PAGE, page.encode())
    return found


def _end(found: Sweep, study: Study) -> str:
    lines = ["", f"page        {found.folder / PAGE}"]
    if others := found.of("running"):
        names = " and ".join(trial.name for trial in others)
        lines.append(f"note        {names}: another process goes on with it")
    if found.best is not None:
        lines.append(f"best        {shlex.quote(str(found.best.folder))}, again by")
        lines.append(f"  {study.command(found.best.values)}")
    return "\n".join(lines)
