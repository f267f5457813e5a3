"""A run that goes on to more epochs is the run that had them from the start."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pyrovae.objectives.schedules import Budget
from pyrovae.runs.loading import load_run
from pyrovae.training.collapse_watch import CollapseWatch

pytestmark = pytest.mark.usefixtures("without_figures")

SIX = ("--set", "inference.epochs=6")
COSINE = "inference.learning_rate_schedule.kind=cosine"


def state_of(folder: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(folder / "checkpoint.pt", weights_only=True)["state"]
    return state


def facts_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "run.json").read_text())
    return found


def test_more_epochs_give_the_run_that_had_them_from_the_start(
    train: Any, command: Any, metrics: Any, same: Callable[[Any, Any], bool]
) -> None:
    bits = ("model.binarisation=dynamic", "model.likelihood.kind=bernoulli")
    whole = train(settings=(*bits, "inference.epochs=6"), output="whole")
    run = train(settings=(*bits, "inference.epochs=2"))
    outcome = command("--resume", run, *SIX)
    assert outcome.status == 0, outcome.err
    assert "schedules" not in outcome.out
    assert metrics(run) == metrics(whole)
    assert same(state_of(run), state_of(whole))
    for name in ("last.safetensors", "best.safetensors", "weights.safetensors", "inference.toml"):
        assert (run / name).read_bytes() == (whole / name).read_bytes()
    found, expected = facts_of(run), facts_of(whole)
    assert {**found, "command": ""} == {**expected, "command": ""}
    assert found["command"].endswith(f"; python -m pyrovae.train --resume run {' '.join(SIX)}")
    assert command("--resume", run).status == 0  # the new budget is now the run's own
    assert metrics(run) == metrics(whole)


def test_until_it_ends_again_the_run_is_unfinished(
    train: Any, command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def signalled(*_: Any) -> None:
        signal.raise_signal(signal.SIGINT)

    run = train(settings=("inference.epochs=2",))
    with monkeypatch.context() as patch:
        patch.setattr("pyrovae.training.loop.Training._prepare", signalled)
        assert command("--resume", run, *SIX).status == 130
    facts = facts_of(run)
    assert (facts["status"], facts["test"]) == ("interrupted", None)
    assert "unfinished" in load_run(run).notes[0]
    assert command("--resume", run).status == 0
    assert state_of(run)["step"] == 12
    assert load_run(run).notes == ()


def test_a_schedule_of_the_whole_budget_is_said_to_be_another(train: Any, command: Any) -> None:
    run = train(settings=("inference.epochs=2", COSINE))
    outcome = command("--resume", run, *SIX)
    assert outcome.status == 0, outcome.err
    assert "note        schedules are now those of 6 epochs" in outcome.out


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("inference.epochs=1", ("inference.epochs = 1", "2 are done")),
        ("inference.batch_size=4", ("batch_size was 8 and is 4", "begin a new run")),
        ("inference.beta.value=4.0", ("beta.value was 1.0 and is 4.0", "only inference.epochs")),
        ("model.latent_dim=3", ("latent_dim was 8 and is 3", "begin a new run")),
    ],
)
def test_anything_else_is_refused_by_name(
    train: Any, refused: Any, setting: str, words: tuple[str, ...]
) -> None:
    run = train(settings=("inference.epochs=2", "model.latent_dim=8"))
    refused("--resume", run, "--set", setting, words=words)


def test_early_stopping_may_change_and_has_to_where_it_has_ended_the_run(
    train: Any, command: Any, refused: Any
) -> None:
    stop = ("inference.early_stopping.patience=1", "inference.early_stopping.min_delta=1e9")
    run = train(settings=("inference.epochs=4", *stop))
    assert state_of(run)["step"] == 4  # two epochs, of which the first is the best by so much
    refused("--resume", run, *SIX, words=("after epoch 2", "early_stopping.patience above 1"))
    outcome = command("--resume", run, *SIX, "--set", "inference.early_stopping.patience=9")
    assert outcome.status == 0, outcome.err
    assert state_of(run)["step"] == 12


def test_a_watch_over_more_epochs_knows_the_earlier_ones() -> None:
    first, whole = CollapseWatch(Budget(50, 10)), CollapseWatch(Budget(200, 10))
    assert first.window < whole.window
    for watch in (first, whole):
        for _ in range(30):
            watch.see(1e-6)
    later = CollapseWatch(Budget(200, 10))
    later.nats = first.nats
    for _ in range(10):
        later.see(1e-6)
        whole.see(1e-6)
        assert (later.collapsed, later.recent) == (whole.collapsed, whole.recent)
    assert later.collapsed
