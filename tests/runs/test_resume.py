"""A run that was interrupted and goes on is bit for bit the run that never was."""

from __future__ import annotations

import copy
import io
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import pyrovae
from pyrovae import InferenceSpec, ModelSpec, Training
from pyrovae.errors import CheckpointError
from pyrovae.runs.facts import DataFacts, RunFacts
from pyrovae.runs.request import RunSpec
from pyrovae.runs.writing import locked
from pyrovae.specs.computation import Computation
from pyrovae.training.loop import Callback
from pyrovae.version import __version__

SCHEDULES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "constant": ({}, {}),
    "linear beta": ({"beta": {"kind": "linear", "value": 4.0, "warmup_epochs": 2.5}}, {}),
    "cosine rate": ({"learning_rate_schedule": {"kind": "cosine"}}, {}),
    "new bits every time": (
        {},
        {"binarisation": "dynamic", "likelihood": {"kind": "bernoulli"}},
    ),
    "VampPrior": ({}, {"prior": {"kind": "vamp", "pseudo_inputs": 4}}),
    "early stopping": (
        {
            "early_stopping": {"patience": 1, "min_delta": 20.0},
            "epochs": 6,
            "optimiser": {"kind": "adam", "learning_rate": 0.02},
        },
        {},
    ),
    "resampling": (
        {
            "resampling": {"kind": "histogram", "bins": 3},
            "optimiser": {"kind": "adam", "learning_rate": 0.05},
        },
        {},
    ),
    "data of the model": (
        {
            "simulated": {"share": 0.5},
            "guide": {"kind": "spline", "layers": 1, "widths": [4], "correlated": True},
        },
        {},
    ),
    "frozen model": ({"frozen": "model", "simulated": {"loss": "objective"}}, {}),
    "averaged weights, a rate for a part, micro-batches": (
        {
            "ema_decay": 0.8,
            "accumulate": 2,
            "optimiser": {"kind": "adam", "learning_rates": {"decoder": 0.05}},
        },
        {},
    ),
    "Adamax": ({"optimiser": {"kind": "adamax"}, "clip_norm": 1.0}, {}),
    "everything at once": (
        {
            "beta": {"kind": "cyclical", "cycles": 2},
            "guide": {"kind": "full_rank"},
            "learning_rate_schedule": {"kind": "multi_step", "milestones": [1]},
            "objective": {"kind": "elbo", "kl": "sampled", "particles": 2},
            "resampling": {"kind": "kernel", "importance_weights": True},
        },
        {"prior": {"kind": "mixture"}},
    ),
}
schedules = pytest.mark.parametrize(
    ("inference", "model"), SCHEDULES.values(), ids=SCHEDULES.keys()
)


class Stop(Callback):
    """Interrupts training after a step, as a signal does."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, training: Training) -> None:
        training.interrupted = training.step == self.step


def through_a_file(state: dict[str, Any]) -> dict[str, Any]:
    """A state as it comes back from disk."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


@schedules
def test_training_goes_on_as_if_never_interrupted(
    make_training: Any,
    same: Callable[[Any, Any], bool],
    inference: dict[str, Any],
    model: dict[str, Any],
) -> None:
    whole = make_training(inference, model)
    history = whole.run()
    for step in (1, 2, 3, 4, 8):  # three steps an epoch
        first = make_training(inference, model)
        before = first.run([Stop(step)])
        assert first.step == min(step, whole.step)
        state = through_a_file(first.state_dict())
        second = make_training(inference, model)
        torch.rand(7)  # the process that goes on has another random stream
        second.load_state_dict(state)
        after = second.run()
        assert same(second.state_dict(), whole.state_dict()), step
        assert same([vars(r) for r in before + after], [vars(r) for r in history]), step


@schedules
def test_a_state_is_not_changed_by_training_on(
    make_training: Any,
    same: Callable[[Any, Any], bool],
    inference: dict[str, Any],
    model: dict[str, Any],
) -> None:
    training = make_training(inference, model)
    training.run([Stop(2)])
    state = training.state_dict()
    kept = copy.deepcopy(state)
    training.interrupted = False
    training.run()
    assert same(state, kept)
    assert not same(training.state_dict(), kept)


def test_early_stopping_remembers_across_an_interruption(make_training: Any) -> None:
    inference, model = SCHEDULES["early stopping"]
    training = make_training(inference, model)
    training.run()
    assert training.finished
    assert training.step < training.budget.steps  # else the schedule above tests nothing
    assert not all(
        torch.equal(value, training.best.weights[name])
        for name, value in training.autoencoder.state_dict().items()
    )


def test_chances_change_from_epoch_to_epoch(make_training: Any) -> None:
    chances: list[torch.Tensor] = []

    class Watch(Callback):
        def on_epoch_end(self, training: Training, records: Any) -> None:
            chances.append(training.state_dict()["probabilities"])

    make_training(*SCHEDULES["resampling"]).run([Watch()])
    uniform = torch.full((16,), 1 / 16).double()
    # At first codes do not vary; later they do, or the schedule tests nothing.
    assert not any(torch.allclose(p, uniform) for p in chances[1:])
    assert not torch.allclose(chances[1], chances[2])


def test_beta_and_rate_are_those_of_the_step(make_training: Any) -> None:
    applied: list[tuple[float, float]] = []

    class Watch(Callback):
        def on_step(self, training: Training) -> None:
            step = training.take_step
            applied.append((step.beta.item(), step.rate.item()))

    training = make_training(
        {
            "beta": {"kind": "linear", "value": 3.0, "warmup_epochs": 1.0},
            "learning_rate_schedule": {"kind": "multi_step", "milestones": [2], "factor": 0.5},
            "optimiser": {"kind": "adam", "learning_rate": 0.25},
        }
    )
    training.run([Watch()])
    betas, rates = zip(*applied, strict=True)
    assert list(betas) == [0.0, 1.0, 2.0, *[3.0] * 6]
    assert list(rates) == [*[0.25] * 6, *[0.125] * 3]


def test_every_epoch_sees_all_the_data_in_an_order_of_its_own(
    make_training: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = make_training()
    seen: list[int] = []
    batch = training.take_step.batch
    monkeypatch.setattr(
        training.take_step, "batch", lambda index: (seen.extend(index.tolist()), batch(index))[1]
    )
    training.run()
    epochs = [seen[start : start + 16] for start in range(0, 48, 16)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(16))] * 3
    assert len({tuple(epoch) for epoch in epochs}) == 3


@pytest.fixture
def signalled(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], AbstractContextManager[None]]:
    """Within, a command receives SIGINT in the middle of a step."""

    class Signal(Callback):
        def __init__(self, step: int) -> None:
            self.step = step

        def on_step(self, training: Training) -> None:
            if training.step == self.step:
                signal.raise_signal(signal.SIGINT)

    @contextmanager
    def at(step: int) -> Iterator[None]:
        run = Training.run
        with monkeypatch.context() as patch:
            patch.setattr(Training, "run", lambda self, who: run(self, [*who, Signal(step)]))
            yield

    return at


def state_of(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "checkpoint.pt", weights_only=True)["state"]


def status_of(folder: Path) -> str:
    return json.loads((folder / "run.json").read_text())["status"]


BITS = (
    "model.binarisation=dynamic",
    "model.likelihood.kind=bernoulli",
    "inference.epochs=3",
    "inference.beta.kind=linear",
)


@pytest.mark.usefixtures("without_figures")
def test_an_interrupted_command_says_how_to_go_on_and_does(
    command: Any,
    train: Any,
    counts: Path,
    overrides: Any,
    assert_same_runs: Any,
    signalled: Callable[[int], AbstractContextManager[None]],
) -> None:
    whole = train(settings=BITS, output="whole")
    for step in (1, 2, 3, 6):  # two steps an epoch, three epochs
        run = Path(f"run-{step}")
        with signalled(step):
            outcome = command("--data", counts, "--output", run, *overrides(*BITS))
        assert outcome.status == 130
        assert f"interrupted after step {step} of 6" in outcome.out
        assert f"python -m pyrovae.train --resume {run}" in outcome.out
        assert status_of(run) == "interrupted"
        assert state_of(run)["step"] == step  # nothing has to be done again
        assert not (run / "weights.safetensors").exists()
        assert command("--resume", run).status == 0
        assert status_of(run) == "finished"
        assert_same_runs(whole, run)


@pytest.mark.usefixtures("without_figures")
def test_a_finished_run_is_finished_again_without_training(
    train: Any, command: Any, metrics: Any, same: Callable[[Any, Any], bool]
) -> None:
    run = train()
    before = metrics(run), state_of(run)
    outcome = command("--resume", run)
    assert outcome.status == 0
    assert "training ELBO" not in outcome.out
    assert metrics(run) == before[0]
    assert same(state_of(run), before[1])


@pytest.mark.usefixtures("without_figures")
@pytest.mark.parametrize("program", [False, True])
def test_a_run_can_be_resumed_from_another_folder(
    command: Any, write_program: Any, here: Path, monkeypatch: pytest.MonkeyPatch,
    overrides: Any, program: bool,
) -> None:  # fmt: skip
    np.savez(here / "mine.npz", x=np.eye(20, dtype=np.int64).repeat(4, 0)[:20, None, :8])
    if program:
        write_program(("nn.Linear(64", "nn.Linear(8"), ("nn.Linear(2, 64", "nn.Linear(2, 8"))
    model = ["program.py", "svi"] if program else ["vae", "svi"]
    words = overrides(declared=not program)
    outcome = command(*model, "--data", "mine.npz:x", "--output", "run", *words)
    assert outcome.status == 0, outcome.err
    (here / "elsewhere").mkdir()
    monkeypatch.chdir(here / "elsewhere")
    outcome = command("--resume", here / "run")
    assert outcome.status == 0, outcome.err


@pytest.mark.usefixtures("without_figures")
def test_a_run_on_data_below_the_home_folder_can_be_resumed(
    command: Any, counts: Path, overrides: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(counts.parent))
    assert command("--data", f"~/{counts.name}", "--output", "run", *overrides()).status == 0
    outcome = command("--resume", "run")
    assert outcome.status == 0, outcome.err


@pytest.mark.usefixtures("without_figures")
def test_a_folder_named_like_the_data_set_is_not_taken_for_it_on_resuming(
    command: Any, overrides: Any, here: Path
) -> None:
    (here / "digits").mkdir()
    words = overrides("inference.epochs=1", "inference.batch_size=1000")
    assert command("--data", "digits", "--output", "run", *words).status == 0
    outcome = command("--resume", "run")
    assert outcome.status == 0, outcome.err


def stop(*_: Any, **__: Any) -> None:
    """In place of a function: the user presses Ctrl-C there."""
    raise KeyboardInterrupt


@pytest.mark.usefixtures("without_figures")
def test_ctrl_c_before_anything_is_saved_leaves_nothing(
    command: Any, counts: Path, overrides: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("--data", counts, "--output", "run", *overrides())
    for place in ("prepare", "begin", "console.plan"):  # before, in and after the first files
        with monkeypatch.context() as patch:
            patch.setattr(f"pyrovae.runs.train.{place}", stop)
            outcome = command(*words)
        assert outcome.status == 130
        assert outcome.err.startswith("interrupted before anything was saved: give the same ")
        assert not Path("run").exists()
    assert command(*words).status == 0


@pytest.mark.usefixtures("without_figures")
def test_ctrl_c_outside_of_the_steps_names_the_command_that_goes_on(
    command: Any, counts: Path, overrides: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def signalled(*_: Any) -> None:
        signal.raise_signal(signal.SIGINT)

    words = ("--data", counts, "--output", "run", *overrides())
    with monkeypatch.context() as patch:
        patch.setattr("pyrovae.training.loop.Training._prepare", signalled)
        first = command(*words)
    assert first.status == 130
    assert "interrupted after step 0 of 4" in first.out
    with monkeypatch.context() as patch:
        patch.setattr("pyrovae.runs.train.evaluate", stop)
        second = command("--resume", "run")
    assert second.status == 130
    for said in (first.out, second.err):
        assert said.endswith("; go on with\n  python -m pyrovae.train --resume run\n")
    assert command("--resume", "run").status == 0
    assert status_of(Path("run")) == "finished"


class CrashError(RuntimeError):
    """The process dies here."""


@contextmanager
def crash_at(name: str, nth: int) -> Iterator[None]:
    """The process dies when it is about to put the nth version of a file in its place."""
    replace, count = Path.replace, itertools.count(1)

    def dying(path: Path, target: Path) -> Path:
        if target.name == name and next(count) == nth:
            raise CrashError
        return replace(path, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "replace", dying)
        yield


CRASHES = [
    ("checkpoint.pt", 2),  # the first is written before the first step
    ("checkpoint.pt", 3),
    ("checkpoint.pt", 4),
    ("last.safetensors", 1),
    ("last.safetensors", 3),
    ("best.safetensors", 1),
    ("best.safetensors", 3),
    ("weights.safetensors", 1),
    ("run.json", 2),
]


@pytest.mark.usefixtures("without_figures")
def test_a_crash_while_a_file_is_replaced_loses_nothing(
    train: Any,
    command: Any,
    counts: Path,
    overrides: Any,
    assert_same_runs: Any,
) -> None:
    epochs = "inference.epochs=3"
    whole = train(settings=(epochs,), output="whole")
    for name, nth in CRASHES:
        run = Path(f"{name}-{nth}")
        with crash_at(name, nth), pytest.raises(CrashError):
            command("--data", counts, "--output", run, *overrides(epochs))
        outcome = command("--resume", run)
        assert outcome.status == 0, outcome.err
        assert_same_runs(whole, run)
        assert list(run.glob(".*")) == []


@pytest.mark.usefixtures("without_figures")
def test_a_metrics_file_that_was_cut_off_is_made_whole(
    train: Any, command: Any, metrics: Any
) -> None:
    run = train()
    whole = metrics(run)
    text = (run / "metrics.jsonl").read_text()
    (run / "metrics.jsonl").write_text(text[: text.index("\n", len(text) // 2) + 20])
    assert command("--resume", run).status == 0
    resumed = metrics(run)
    assert resumed[-1] == whole[-1]
    assert resumed[0] == whole[0]


SLOW = """
        time.sleep(0.1 * pathlib.Path("slow").exists())
        loc, scale"""
EPOCHS = "inference.epochs=12"


@pytest.fixture
def slow_program(write_program: Any, here: Path) -> Path:
    """A program that takes its time while there is a file named "slow"."""
    (here / "slow").touch()
    return write_program(
        ("import torch\n", "import pathlib\nimport time\nimport torch\n"),
        ("\n        loc, scale", SLOW),
    )


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start the command in a process of its own; see to its end."""
    started: list[subprocess.Popen[str]] = []
    checkout = str(Path(pyrovae.__file__).parents[1])

    def run(*arguments: str | Path) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "pyrovae.train", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": checkout, "CUDA_VISIBLE_DEVICES": ""},
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def wait_for_epochs(count: int, process: subprocess.Popen[str]) -> None:
    """Wait until a run in the folder "run" has so many epochs behind it."""
    metrics = Path("run") / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not (metrics.is_file() and metrics.read_text().count("\n") >= 2 * count):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.usefixtures("without_figures")
def test_a_process_that_was_killed_and_ended_goes_on_bit_for_bit(
    start: Callable[..., subprocess.Popen[str]],
    slow_program: Path,
    command: Any,
    train: Any,
    counts: Path,
    overrides: Any,
    assert_same_runs: Any,
) -> None:
    words = overrides(EPOCHS, declared=False)
    killed = start(slow_program, "svi", "--data", counts, "--output", "run", *words)
    wait_for_epochs(3, killed)
    killed.kill()
    assert killed.wait() == -signal.SIGKILL
    # The third epoch's state may not have been written yet, after its metrics.
    assert 4 <= state_of(Path("run"))["step"] < 24
    ended = start("--resume", "run")
    wait_for_epochs(5, ended)
    ended.terminate()
    out, err = ended.communicate(timeout=120)
    assert ended.returncode == 143, err
    assert "python -m pyrovae.train --resume run" in out
    Path("slow").unlink()
    resumed = command("--resume", "run")
    assert resumed.status == 0, resumed.err
    whole = train(slow_program, "svi", settings=(EPOCHS,), output="whole")
    assert_same_runs(whole, Path("run"))


def test_ctrl_c_leaves_the_line_that_goes_on_and_no_traceback(
    start: Callable[..., subprocess.Popen[str]],
    slow_program: Path,
    counts: Path,
    overrides: Any,
) -> None:
    words = overrides(EPOCHS, declared=False)
    process = start(slow_program, "svi", "--data", counts, "--output", "run", *words)
    wait_for_epochs(1, process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert out.rstrip().endswith("python -m pyrovae.train --resume run")
    assert err == ""


def test_a_run_goes_on_the_way_it_began(tmp_path: Path) -> None:
    def resumed(**asked: Any) -> Computation:
        return RunSpec.read(resume=tmp_path, **asked).computation

    for name, spec in (("model", ModelSpec()), ("inference", InferenceSpec())):
        (tmp_path / f"{name}.toml").write_text(spec.to_toml(), encoding="utf-8")
    facts = RunFacts(
        status="interrupted",
        model="vae",
        inference="svi",
        versions={"pyrovae": __version__},
        data=DataFacts(source="digits", root="data", fingerprint="", shape=(1, 8, 8)),
    )
    (tmp_path / "run.json").write_text(facts.to_json(), encoding="utf-8")
    assert resumed() == Computation()  # as of a run from before there was a choice
    begun = facts.with_changes({"computation": Computation("off", "bf16")})
    (tmp_path / "run.json").write_text(begun.to_json(), encoding="utf-8")
    assert resumed() == Computation("off", "bf16")
    assert resumed(compile="on") == Computation("on", "bf16")


def test_two_processes_do_not_train_into_one_folder(tmp_path: Path) -> None:
    refused = pytest.raises(CheckpointError, match="another process is training into it")
    folder = tmp_path / "shared"
    folder.mkdir()
    with locked(folder), refused, locked(folder):
        pass
    with locked(folder):  # free again, and nothing is left of it
        pass
    assert list(folder.iterdir()) == []
