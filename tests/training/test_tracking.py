"""Trackers: what they are told, in the tools that are installed and in stand-ins for others."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from matplotlib.figure import Figure

from pyrovae import InferenceSpec, Splits, Tracking, Training, build, fit
from pyrovae.errors import SpecError
from pyrovae.specs.tracking import TRACKERS

TWO = InferenceSpec(epochs=2)


class Memory:
    """A tracker that keeps what it is told, and fails from some epoch on."""

    log_dir = Path("nowhere")

    def __init__(self, fails_at: int = 99) -> None:
        self.fails_at = fails_at
        self.metrics: dict[int, dict[str, float]] = {}
        self.params: dict[str, Any] = {}
        self.flushed = 0

    def log_metrics(self, values: Mapping[str, float], step: int) -> None:
        if step >= self.fails_at:
            raise OSError("the server\nis gone")
        self.metrics[step] = dict(values)

    def log_params(self, values: Mapping[str, Any]) -> None:
        self.params = dict(values)

    def add_figure(self, name: str, figure: Figure, step: int) -> None:
        raise AssertionError("fit draws none")

    def flush(self) -> None:
        self.flushed += 1


def in_two_parts(data: Splits, log_dir: Path, tool: str, again: int = 1) -> Training:
    """A training of three epochs, stopped after the second and gone on with from the first."""
    spec = InferenceSpec(epochs=3)
    first = Training(build("vae", spec, data), data, spec)
    states = []

    class Stop(Tracking):
        def on_epoch_end(self, training: Training, records: Any) -> None:
            super().on_epoch_end(training, records)
            states.append(training.state_dict())
            training.interrupted = training.epoch == 2

    first.run([Stop(tool, log_dir, "a title")])
    second = Training(build("vae", spec, data), data, spec)
    second.load_state_dict(states[again - 1])
    second.run([Tracking(tool, log_dir, "a title")])
    return second


def test_every_number_and_key_is_logged(few_digits: Splits) -> None:
    memory = Memory()
    vae = build("vae", TWO, few_digits)
    history = fit(vae, few_digits, InferenceSpec(epochs=3), Tracking(memory))
    assert [*memory.metrics] == [1, 2, 3]
    for record in history:
        logged = memory.metrics[record.epoch]
        for name in ("elbo", "reconstruction", "kl", "loss"):
            assert logged[f"{name}/{record.split}"] == getattr(record, name)
        assert logged["beta"] == record.beta
    assert memory.params["inference.epochs"] == 3
    assert memory.params["model.likelihood.kind"] == vae.declaration.model.likelihood.kind
    assert memory.params["inference.guide.encoder.widths"]  # those that the data have chosen
    assert memory.flushed == 1


def test_a_tracker_changes_no_number_and_may_fail(few_digits: Splits, caplog: Any) -> None:
    plain = build("vae", TWO, few_digits)
    expected = fit(plain, few_digits, TWO)
    for at, warnings in ((99, 0), (1, 1), (2, 1)):
        caplog.clear()
        vae, memory = build("vae", TWO, few_digits), Memory(at)
        found = fit(vae, few_digits, TWO, Tracking(memory))
        assert [r.elbo for r in found] == [r.elbo for r in expected]
        for ours, theirs in zip(vae.parameters(), plain.parameters(), strict=True):
            assert torch.equal(ours, theirs)
        assert caplog.text.count("Memory has failed, and tracks no more: the server is gone") == (
            warnings
        )
        assert [*memory.metrics] == [*range(1, min(at, 3))]
        assert memory.flushed == 1 - warnings


def test_mistakes_are_one_sentence_before_training(
    few_digits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("wandb").mkdir()  # where it logs: no package
    monkeypatch.syspath_prepend(tmp_path)
    for name in TRACKERS:
        monkeypatch.delitem(sys.modules, name, raising=False)
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda n: None if n in TRACKERS[:2] else find(n)
    )
    with pytest.raises(SpecError, match="there is no tracker 'mlfow'; did you mean 'mlflow'"):
        Tracking("mlfow", "log")
    for name in TRACKERS[:2]:
        with pytest.raises(SpecError, match=f"{name} is not installed: pip install {name}$"):
            Tracking(name, "log")
    if (wandb := find("wandb")) is None or wandb.origin is None:
        with pytest.raises(SpecError, match=r"wandb is not installed: pip install wandb$"):
            Tracking("wandb", "log")
    monkeypatch.setitem(sys.modules, "wandb", ModuleType("wandb"))
    with pytest.raises(SpecError, match="name the folder of the log"):
        Tracking("wandb")
    with pytest.raises(SpecError, match=r"wandb cannot track the training: .*no attribute 'init'"):
        fit(build("vae", TWO, few_digits), few_digits, TWO, Tracking("wandb", "log"))
    with pytest.raises(SpecError, match="no method log_metrics: give one of tensorboard, mlflow"):
        Tracking(object())  # type: ignore[arg-type]


@pytest.mark.parametrize("tool", ["wandb", "trackio"])
def test_a_training_that_goes_on_does_so_in_the_same_log(
    tool: str, few_digits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[dict[str, Any]] = []
    logged: list[tuple[int, dict[str, Any]]] = []
    config: dict[str, Any] = {}

    def init(**options: Any) -> Any:
        begun.append(options)
        config.update(options.get("config", {}))
        return SimpleNamespace(
            config=SimpleNamespace(update=lambda values, allow_val_change: config.update(values)),
            log=lambda values, step: logged.append((step, values)),
        )

    fake = ModuleType(tool)
    fake.init, fake.Image = init, lambda picture: picture  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, tool, fake)
    key = "id" if tool == "wandb" else "name"
    in_two_parts(few_digits, tmp_path / "log", tool)
    first, second = begun
    assert first[key] == second[key]
    assert first["resume"] == "allow"
    assert first["project"] == "pyrovae"
    assert first["name"].startswith("a title")
    assert [step for step, _ in logged] == [1, 2, 2, 3]
    assert logged[1][1]["elbo/train"] == logged[2][1]["elbo/train"]
    assert config["inference.epochs"] == 3
    in_two_parts(few_digits, tmp_path / "log", tool)  # a new one, in the same folder
    assert begun[2][key] == begun[3][key] != first[key]
    tracking = Tracking(tool, tmp_path / "log")
    fit(build("vae", TWO, few_digits), few_digits, TWO, tracking)
    tracking.show("curves", Figure(), 2)
    assert "curves" in logged[-1][1]


def test_the_event_files_of_tensorboard_have_each_epoch_once(
    few_digits: Splits, tmp_path: Path
) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    expected = Memory()
    spec = InferenceSpec(epochs=3)
    fit(build("vae", spec, few_digits), few_digits, spec, Tracking(expected))
    in_two_parts(few_digits, tmp_path, "tensorboard")
    events = EventAccumulator(str(tmp_path)).Reload()
    assert {*events.Tags()["scalars"]} == {*expected.metrics[1]}
    for name in ("elbo/train", "kl/validation"):
        found = [(event.step, event.value) for event in events.Scalars(name)]
        assert [step for step, _ in found] == [1, 2, 3]
        for step, value in found:
            assert value == pytest.approx(expected.metrics[step][name], rel=1e-6)  # of float32
    (tag,) = events.Tags()["tensors"]
    assert b"inference.epochs | 3" in events.Tensors(tag)[-1].tensor_proto.string_val[0]


@pytest.mark.filterwarnings("ignore")  # MLflow's own
def test_a_run_of_mlflow_has_each_number(
    few_digits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file:{tmp_path}/store")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    in_two_parts(few_digits, tmp_path / "log", "mlflow", again=2)
    expected = Memory()
    spec = InferenceSpec(epochs=3)
    fit(build("vae", spec, few_digits), few_digits, spec, Tracking(expected))
    tracking = Tracking("mlflow", tmp_path / "log", "a title")
    training = Training(build("vae", spec, few_digits), few_digits, TWO)
    training.step = 2 * training.budget.steps_per_epoch  # spent: it goes on to nothing
    training.run([tracking])
    tracking.show("curves", Figure(), 3)
    client = mlflow.MlflowClient()
    (run,) = client.search_runs([client.get_experiment_by_name("pyrovae").experiment_id])
    assert run.info.run_name == "a title"
    assert run.info.status == "FINISHED"
    assert run.data.params["inference.epochs"] == "3"
    assert run.data.tags["inference.epochs"] == "2"  # a parameter cannot change
    assert sum(name.startswith("inference") for name in run.data.tags) == 1
    found = [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, "elbo/train")]
    assert found == [(step, values["elbo/train"]) for step, values in expected.metrics.items()]
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["curves-3.png"]
