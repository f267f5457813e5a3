"""Trials of a sweep are ordinary runs, each trained once, whatever becomes of the processes."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from pyrovae import open_run, sweep
from pyrovae.errors import DivergenceError
from pyrovae.report.display import Display
from pyrovae.report.trials import Sweep
from pyrovae.runs.facts import RunFacts
from pyrovae.runs.options import SweepOptions
from pyrovae.runs.pruning import Watch
from pyrovae.runs.study import Study
from pyrovae.runs.sweep import sweep as run_sweep
from pyrovae.runs.trials import MOST_LOSSES, Trials

optuna = pytest.importorskip("optuna", reason='needs Optuna: pip install "pyrovae[sweep]"')
pytestmark = pytest.mark.usefixtures("without_figures")

STUDY = """\
model = "vae"
inference = "svi"
data = "{data}"
trials = 2
[settings]
inference.batch_size = 8
inference.epochs = 2
model.decoder.widths = [16]
[search]
inference.optimiser.learning_rate = {{low = 1e-4, high = 1e-2, log = true}}
model.latent_dim = {{low = 2, high = 8}}
model.prior.kind = {{choices = ["normal", "vamp"]}}
"""

Write = Callable[..., Path]


@pytest.fixture(autouse=True)
def no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw nothing: a picture takes longer than a trial."""
    monkeypatch.setattr("pyrovae.report.study_page._picture", lambda *_: None)


@pytest.fixture
def study_file(counts: Path, write_changed: Any) -> Write:
    """Write the study file, with pieces of its text replaced."""

    def write(*changes: tuple[str, str], name: str = "study.toml") -> Path:
        return write_changed(STUDY.format(data=counts), changes, name)

    return write


@pytest.fixture
def command(command_of: Any) -> Any:
    return command_of(sweep.main)


def swept(file: Path, output: str = "sweep") -> Sweep:
    """The sweep of a study file, in this process."""
    return run_sweep(Study.read(SweepOptions(study=file, output=Path(output))), "", Display())


def started(file: Path, output: str, at_epoch: Callable[[], object]) -> int:
    """The number of a process that takes part in a sweep, and does something after each epoch."""
    pid = os.fork()
    if pid == 0:  # never comes back
        status = 1
        try:
            report = Watch.on_epoch_end

            def on_epoch_end(self: Watch, training: Any, records: Sequence[Any]) -> None:
                report(self, training, records)
                at_epoch()

            Watch.on_epoch_end = on_epoch_end  # type: ignore[method-assign]
            swept(file, output)
            status = 0
        finally:
            os._exit(status)
    return pid


def ended(pid: int) -> int:
    """The exit status of a process, or minus the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_trial_is_the_run_that_its_line_trains_and_the_best_is_the_best(
    study_file: Write, command_of: Any, assert_same_runs: Any, metrics: Any
) -> None:
    from pyrovae.train import main

    found = swept(study_file())
    assert [trial.state for trial in found.trials] == ["finished", "finished"]
    for trial in found.trials:
        words = shlex.split(RunFacts.read(trial.folder).command)
        assert words[:3] == ["python", "-m", "pyrovae.train"]
        words[words.index(str(trial.folder))] = f"alone-{trial.number}"
        assert command_of(main)(*words[3:]).status == 0
        assert_same_runs(Path(f"alone-{trial.number}"), trial.folder)
        weights = RunFacts.read(trial.folder).weights
        assert weights is not None
        records = metrics(trial.folder)
        (kept,) = (
            record["elbo"]
            for record in records
            if (record["split"], record["epoch"]) == ("validation", weights["epoch"])
        )
        assert trial.objective == kept
    values = [trial.objective or 0.0 for trial in found.trials]
    assert found.best is not None
    assert found.best.number == values.index(max(values))


def test_the_smallest_loss_is_the_best_where_that_is_asked_for(study_file: Write) -> None:
    found = swept(study_file(("trials = 2", 'trials = 2\nobjective = "validation loss"')))
    assert found.best is not None
    assert found.best.objective == min(trial.objective or 0.0 for trial in found.trials)
    assert len({trial.objective for trial in found.trials}) == 2


def test_processes_share_the_trials_and_take_up_what_another_left(study_file: Write) -> None:
    study = Study.read(SweepOptions(study=study_file(("trials = 2", "trials = 3"))))
    first, second = Trials(study, {}), Trials(study, {})
    claims = [first.claim(), second.claim(), first.claim()]
    assert [claim and claim.folder.name[-1] for claim in claims] == ["0", "1", "2"]
    assert second.claim() is None
    left = claims[0]
    assert left is not None
    left.lock.release()  # as the end of its process does
    again = second.claim()
    assert again is not None
    assert (again.folder, again.values) == (left.folder, left.values)
    assert again.taken_up
    assert first.claim() is None
    second.fail(again, "no reason")
    assert first.claim() is None
    assert [trial.state for trial in first.sweep().trials] == ["failed", "running", "running"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
def test_two_processes_train_each_trial_once(study_file: Write) -> None:
    file = study_file(("trials = 2", "trials = 4"))
    epochs = os.open("epochs", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    both = [started(file, "sweep", lambda: os.write(epochs, b".")) for _ in range(2)]
    assert [ended(pid) for pid in both] == [0, 0]
    os.close(epochs)
    assert Path("epochs").stat().st_size == 4 * 2
    found = swept(file)
    assert [trial.state for trial in found.trials] == ["finished"] * 4
    assert {path.name for path in found.folder.iterdir()} == {
        ".sweep.lock",
        "journal.log",
        "study.html",
        *(trial.name for trial in found.trials),
    }


def test_a_trial_that_ends_its_processes_is_not_taken_up_for_ever(study_file: Write) -> None:
    trials = Trials(Study.read(SweepOptions(study=study_file(("trials = 2", "trials = 1")))), {})
    for number in range(MOST_LOSSES):
        claim = trials.claim()
        assert claim is not None, number
        claim.lock.release()
    assert trials.claim() is None
    (trial,) = trials.sweep().trials
    assert trial.state == "failed"
    assert "memory" in trial.why
    claim = Trials(Study.read(SweepOptions(study=study_file())), {}).claim()
    assert claim is not None
    assert claim.folder.name == "trial-0001"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
def test_a_sweep_whose_processes_are_killed_or_stopped_ends_with_the_same_bits(
    study_file: Write, assert_same_runs: Any, command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = study_file()
    whole = swept(file, "whole")
    killed = started(file, "killed", lambda: os.kill(os.getpid(), signal.SIGKILL))
    assert ended(killed) == -signal.SIGKILL
    with monkeypatch.context() as patched:
        report = Watch.on_epoch_end

        def stopped(self: Watch, training: Any, records: Any) -> None:
            report(self, training, records)
            if self.trial.number == 1:
                os.kill(os.getpid(), signal.SIGTERM)

        patched.setattr(Watch, "on_epoch_end", stopped)
        outcome = command(file, "--output", "killed")
    assert outcome.status == 128 + signal.SIGTERM
    assert "trial-0000 goes on" in outcome.out
    assert f"python -m pyrovae.sweep {file} --output killed" in outcome.err
    with monkeypatch.context() as patched:  # the run is finished, and its trial not yet

        def interrupt(*_: Any, **__: Any) -> None:
            raise KeyboardInterrupt

        patched.setattr(Trials, "finish", interrupt)
        assert command(file, "--output", "killed").status == 128 + signal.SIGINT
    assert RunFacts.read(Path("killed/trial-0001")).status == "finished"
    outcome = command(file, "--output", "killed")
    assert outcome.status == 0
    assert "trial-0001 goes on" in outcome.out
    found = swept(file, "killed")
    assert len(found.trials) == 2
    for trial, other in zip(whole.trials, found.trials, strict=True):
        assert trial.values == other.values
        assert (trial.objective, trial.error) == (other.objective, other.error)
        assert_same_runs(trial.folder, other.folder)


def test_a_pruned_trial_is_marked_and_opens(
    study_file: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optuna.Trial, "should_prune", lambda self: self.number == 1)
    found = swept(study_file(("trials = 2", "trials = 2\nprune = true")))
    assert [(trial.state, trial.epochs) for trial in found.trials] == [
        ("finished", 2),
        ("pruned", 1),
    ]
    assert found.best == found.trials[0]
    run = open_run(found.trials[1].folder)
    assert run.facts.status == "finished"
    assert run.history.epoch.max() == 1
    page = (found.folder / "study.html").read_text(encoding="utf-8")
    assert "pruned, 1 epoch" in page
    assert 'href="trial-0001"' in page


def test_a_trial_that_fails_says_why_and_the_others_go_on(
    study_file: Write, monkeypatch: pytest.MonkeyPatch, command: Any
) -> None:
    from pyrovae.runs.train import train

    mistakes = [DivergenceError("not finite"), MemoryError("out of it")]

    def failing(*arguments: Any, **options: Any) -> Any:
        if mistakes:
            raise mistakes.pop(0)
        return train(*arguments, **options)

    monkeypatch.setattr("pyrovae.runs.sweep.train", failing)
    outcome = command(study_file(("trials = 2", "trials = 3")))
    assert outcome.status == 0
    assert "trial-0000 failed: not finite\n" in outcome.out
    assert "3 of 3 trials: 1 finished, 2 failed; best is trial-0002" in outcome.out
    page = Path("runs/study/study.html").read_text(encoding="utf-8")
    assert "trial-0000 failed: Not finite." in page
    assert "inference.batch_size" in page


def test_a_sweep_of_failures_has_failed(
    study_file: Write, monkeypatch: pytest.MonkeyPatch, command: Any
) -> None:
    def failing(*arguments: Any, **options: Any) -> Any:
        raise DivergenceError("not finite")

    monkeypatch.setattr("pyrovae.runs.sweep.train", failing)
    outcome = command(study_file())
    assert outcome.status == 2
    assert outcome.err == "all 2 trials have failed; the last: not finite\n"
    assert Path("runs/study/study.html").exists()


def test_more_trials_go_on_and_another_study_is_refused(study_file: Write, command: Any) -> None:
    first = swept(study_file(("trials = 2", "trials = 1")), "runs/study")
    second = swept(study_file(), "runs/study")
    assert len(second.trials) == 2
    assert second.trials[:1] == first.trials
    at_once = swept(study_file(), "at-once").trials
    assert [trial.values for trial in at_once] == [trial.values for trial in second.trials]
    for change in (("high = 8", "high = 9"), ("epochs = 2", "epochs = 3"), ("trials", "seed")):
        outcome = command(study_file(change))
        assert outcome.status == 2
        assert "runs/study was begun with another study file" in outcome.err
    Path("other").mkdir()
    Path("other/file").touch()
    outcome = command(study_file(), "--output", "other")
    assert (outcome.status, outcome.out) == (2, "")
    assert "--output other: neither empty nor a sweep's" in outcome.err


def test_a_line_that_was_cut_off_is_done_again_and_other_damage_is_named(
    study_file: Write, command: Any
) -> None:
    file = study_file()
    study = Study.read(SweepOptions(study=file))
    first = Trials(study, {}).claim()
    assert first is not None
    first.lock.release()
    journal = Path("runs/study/journal.log")
    whole = journal.read_bytes()
    for cut in (b'{"op_code": 6, "trial', b"\xff", b""):
        journal.write_bytes(whole + cut)
        again = Trials(study, {}).claim()
        assert again is not None
        assert (again.folder, again.values) == (first.folder, first.values)
        again.lock.release()
    journal.write_bytes(whole.replace(b"{", b"", 2))
    outcome = command(file)
    assert outcome.status == 2
    assert outcome.err.startswith(f"{journal} is damaged: ")


def test_without_optuna_a_sentence_says_what_to_install(
    study_file: Write, monkeypatch: pytest.MonkeyPatch, refused_by: Any, command: Any
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    refused_by(command)(study_file(), words=('pip install "pyrovae[sweep]"',))
