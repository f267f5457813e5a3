"""Trackers and callbacks that the command names, in runs that end and runs that go on."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from matplotlib.figure import Figure

MINE = """\
import pyrovae

class Stop(pyrovae.Callback):
    def on_epoch_end(self, training, records):
        training.interrupted = training.epoch == 1

class Enough(pyrovae.Callback):
    def on_epoch_end(self, training, records):
        training.satisfied = True

class Bad(pyrovae.Callback):
    def on_step(self, training):
        {}["key"]

class Needy(pyrovae.Callback):
    def __init__(self, target):
        pass

class Other:
    pass
"""


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """A stand-in for W&B; what its runs are told, those that begin under the key ``id``."""
    told: list[dict[str, Any]] = []

    def init(**options: Any) -> Any:
        told.append({"id": options["id"], "dir": options["dir"], "name": options["name"]})
        return SimpleNamespace(
            config=SimpleNamespace(update=lambda values, **_: told.append(values)),
            log=lambda values, step: told.append({"step": step, **values}),
        )

    fake = ModuleType("wandb")
    fake.init, fake.Image = init, lambda figure: figure  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", fake)
    return told


@pytest.fixture
def mine(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with callbacks."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "mine_of_test", raising=False)
    (here / "code").mkdir()
    (here / "code/mine_of_test.py").write_text(MINE, encoding="utf-8")
    return here / "code"


def facts_of(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "run.json").read_text())
    return found


def test_a_resumed_run_goes_on_in_its_log_to_the_test_bound_and_the_figures(
    train: Any, command: Any, logged: list[dict[str, Any]], mine: Path, caplog: Any
) -> None:
    words = ("--callback", "mine_of_test:Stop", "--import-path", mine, "--track", "wandb")
    run = train(*words)
    assert facts_of(run)["status"] == "interrupted"
    assert facts_of(run)["tracked"] == ["wandb"]
    assert facts_of(run)["callbacks"] == ["mine_of_test:Stop"]
    assert "names" not in caplog.text
    outcome = command("--resume", run)
    assert outcome.status == 0, outcome.err
    assert "imports mine_of_test:Stop, which run names" in caplog.text
    assert "goes on tracking by wandb, which run names" in caplog.text
    facts = facts_of(run)
    assert facts["status"] == "finished"
    first, second = (told for told in logged if "id" in told)
    assert first == second
    assert first["name"] == "run"
    assert first["dir"] == str(run / "wandb")
    epochs = [told for told in logged if "elbo/train" in told]
    assert [told["step"] for told in epochs] == [1, 2]
    (test,) = (told for told in logged if "elbo/test" in told)
    assert test["elbo/test"] == facts["test"]["elbo"]
    figures = [key for told in logged for key in told if isinstance(told[key], Figure)]
    assert [f"{name}.png" for name in figures] == facts["figures"]


@pytest.mark.usefixtures("without_figures")
def test_what_a_run_names_may_be_left_out(
    train: Any, command: Any, logged: list[dict[str, Any]], mine: Path, caplog: Any
) -> None:
    run = train(
        "--callback", "mine_of_test:Stop", "--import-path", mine, "--track", "wandb",
        settings=("inference.epochs=1",),
    )  # fmt: skip
    told = len(logged)
    more = ("--set", "inference.epochs=2")
    outcome = command("--resume", run, *more, "--track", "none", "--callback", "none")
    assert outcome.status == 0, outcome.err
    assert len(logged) == told
    assert "which run names" not in caplog.text
    assert facts_of(run)["tracked"] == facts_of(run)["callbacks"] == []


@pytest.mark.usefixtures("without_figures")
def test_a_callback_may_end_the_training(train: Any, mine: Path) -> None:
    run = train("--callback", "mine_of_test:Enough", "--import-path", mine)
    assert facts_of(run)["status"] == "finished"
    assert facts_of(run)["weights"]["epoch"] == 1


def test_mistakes_are_one_sentence_before_anything_is_written(
    refused: Any, mine: Path, counts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pyrovae.specs.tracking._installed", lambda name: name == "trackio")
    words = ("--data", counts, "--import-path", mine, "--output", "run")
    for tool in ("tensorboard", "mlflow", "wandb"):
        said = f"--track {tool}: {tool} is not installed: pip install {tool}"
        refused(*words, "--track", tool, words=(said,))
    for kind, said in {
        "mine_of_test:Stopp": "mine_of_test has no class 'Stopp'; did you mean 'Stop'?",
        "mine_of_test:Other": "give a subclass of pyrovae.Callback",
        "mine_of_test:Needy": "missing 1 required positional argument: 'target'",
        "mine_of_test": "give module and class, as in package.module:Class",
        "their_module:Stop": "name its folder with --import-path",
    }.items():
        refused(*words, "--callback", kind, words=(f"--callback {kind}: ", said))


def test_an_error_in_a_callback_is_one_sentence(command: Any, mine: Path, counts: Path) -> None:
    words = ("--callback", "mine_of_test:Bad", "--import-path", mine)
    outcome = command("--data", counts, "--output", "run", *words)
    assert outcome.status == 2
    assert outcome.err == (
        "--callback mine_of_test:Bad: KeyError: 'key' (mine_of_test.py, line 13)\n"
    )
    assert facts_of(Path("run"))["status"] == "failed"
