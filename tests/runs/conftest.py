"""The command, run in this process, in an empty folder, on the CPU and without a network."""

from __future__ import annotations

import json
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import Tensor

import pyrovae.report.figures
from pyrovae import InferenceSpec, ModelSpec, Training, build, load_data
from pyrovae.data import Splits
from pyrovae.evaluation.annealed_importance import Annealed, Bracket
from pyrovae.report.figures.checks import CaptionedFigure
from pyrovae.specs.files import validate
from pyrovae.train import main

COUNTS = np.random.default_rng(0).integers(0, 17, (20, 8, 8))  # 16 to train, 2 and 2 to judge
SMALL = (
    "inference.batch_size=8",  # two steps an epoch
    "inference.epochs=2",
    "model.decoder.widths=[16]",
)
PROGRAM = """\
import pyro
import pyro.distributions as dist
import torch
from torch import nn

encoder = nn.Linear(64, 2)
decoder = nn.Linear(2, 64)


def model(x):
    pyro.module("decoder", decoder)
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(2), x.new_ones(2)).to_event(1))
        logits = decoder(z).reshape(x.shape)
        pyro.sample("x", dist.Binomial(16, logits=logits).to_event(3), obs=x)


def guide(x):
    pyro.module("encoder", encoder)
    with pyro.plate("data", len(x)):
        loc, scale = encoder(x.flatten(1) / 16), x.new_ones(2)
        pyro.sample("z", dist.Normal(loc, scale).to_event(1))
"""


class Outcome(NamedTuple):
    """What a command came to: exit status, and what it wrote to stdout and stderr."""

    status: int | str | None
    out: str
    err: str


Main = Callable[[list[str]], int]


class Command(Protocol):
    """Run a command, ``python -m pyrovae.train`` or another, with these arguments, in here."""

    def __call__(self, *arguments: str | Path) -> Outcome: ...


class Train(Protocol):
    """Train a small model on a few images to the end; the folder of the run."""

    def __call__(
        self, *arguments: str | Path, settings: tuple[str, ...] = (), output: str = "run"
    ) -> Path: ...


class Refused(Protocol):
    """A command stops with exit status 2 and one line with these words, and writes nothing."""

    def __call__(self, *arguments: str | Path, words: tuple[str, ...]) -> None: ...


class WriteProgram(Protocol):
    """Write a small handwritten program to a file, with pieces of its text replaced."""

    def __call__(self, *changes: tuple[str, str], name: str = "program.py") -> Path: ...


class Once(Protocol):
    """Train a run where it is first asked for, and copy it where it is asked for again."""

    def __call__(self, name: str, fit: Callable[[], Path]) -> Path: ...


class MakeTraining(Protocol):
    """A small declared autoencoder on a few images, about to be trained; always the same one."""

    def __call__(
        self, inference: dict[str, Any] | None = None, model: dict[str, Any] | None = None
    ) -> Training: ...


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, no network and no GPU."""

    def refuse(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


@pytest.fixture
def without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw nothing: four pictures take longer than all the rest."""
    monkeypatch.setattr(pyrovae.report.figures, "draw_figures", lambda *_: [])


@pytest.fixture
def plain(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pictures are one empty figure, but where they are looked at: they take the longest.

    Those that only a few analyses have are drawn, with few pixels.
    """
    if "pictures" in request.fixturenames:
        return
    figure = Figure(figsize=(1, 1))
    drawn = CaptionedFigure(figure, "A caption.")
    figures = "pyrovae.report.figures"
    monkeypatch.setattr(
        f"{figures}.checks.picture", lambda check, _: None if check.question == "bound" else drawn
    )
    usual = ("traversals.traversals", "interpolations.interpolations", "completeness.samples")
    for name in ("extremes.extremes", *usual, "manifold.manifold"):
        monkeypatch.setattr(f"{figures}.{name}", lambda *_: figure)
    monkeypatch.setattr(f"{figures}.animation.write_gif", lambda *_: None)
    monkeypatch.setattr("pyrovae.runs.explore.PAGE_DPI", 20)


@pytest.fixture
def pictures() -> None:
    """Pictures are drawn."""


@pytest.fixture(scope="session")
def counts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty images like scikit-learn's digits: integers 0 to 16, 8 x 8."""
    path = tmp_path_factory.mktemp("data") / "counts.npy"
    np.save(path, COUNTS)
    return path


@pytest.fixture
def command_of(capsys: pytest.CaptureFixture[str]) -> Callable[[Main], Command]:
    """A command from its ``main``."""

    def make(main: Main) -> Command:
        def run(*arguments: str | Path) -> Outcome:
            capsys.readouterr()
            try:
                status: int | str | None = main([str(argument) for argument in arguments])
            except SystemExit as stop:  # argparse's own mistakes
                status = stop.code
            return Outcome(status, *capsys.readouterr())

        return run

    return make


@pytest.fixture
def command(command_of: Callable[[Main], Command]) -> Command:
    return command_of(main)


@pytest.fixture
def overrides() -> Callable[..., list[str]]:
    """``--set`` for each setting, after those that make everything small."""

    def spelled(*settings: str, declared: bool = True) -> list[str]:
        small = [key for key in SMALL if declared or not key.startswith("model.")]
        return [word for setting in (*small, *settings) for word in ("--set", setting)]

    return spelled


@pytest.fixture
def train(command: Command, counts: Path, overrides: Callable[..., list[str]]) -> Train:
    def run(*arguments: str | Path, settings: tuple[str, ...] = (), output: str = "run") -> Path:
        program = any(str(a).endswith(".py") or a == "handwritten" for a in arguments)
        words = overrides(*settings, declared=not program)
        outcome = command(*arguments, "--data", counts, "--output", output, *words)
        assert outcome.status == 0, outcome.err
        return Path(output)

    return run


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where runs are kept that several tests look at."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def once(kept: Path) -> Once:
    def copied(name: str, fit: Callable[[], Path]) -> Path:
        if (kept / name).exists():
            return Path(shutil.copytree(kept / name, "run"))
        run = fit()
        shutil.copytree(run, kept / name)
        return run

    return copied


@pytest.fixture
def refused_by(here: Path) -> Callable[[Command], Refused]:
    """What a command refuses."""

    def make(command: Command) -> Refused:
        def check(*arguments: str | Path, words: tuple[str, ...]) -> None:
            before = contents(here)
            outcome = command(*arguments)
            assert outcome.status == 2
            assert outcome.out == ""
            assert "Traceback" not in outcome.err
            missing = [word for word in words if word not in outcome.err]
            assert missing == [], outcome.err
            assert len(outcome.err.splitlines()) == 1, outcome.err
            assert contents(here) == before

        return check

    return make


@pytest.fixture
def refused(command: Command, refused_by: Callable[[Command], Refused]) -> Refused:
    return refused_by(command)


@pytest.fixture
def annealing(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of annealing, which takes long: log p(x) is -1, and brackets are 0.5 wide."""

    def anneal(_: Any, x: Tensor, **options: Any) -> Annealed:
        value = -2.0 if options.get("start") == "prior" else -1.0
        ones = torch.ones(len(x), dtype=torch.float64)
        return Annealed(value * ones, 0.25 * ones)

    def bracket(_: Any, like: Tensor, **options: Any) -> Bracket:
        ones = torch.ones(len(like), dtype=torch.float64)
        return Bracket(like, -1.5 * ones, -ones)

    for name, stub in {"anneal": anneal, "bracket": bracket}.items():
        monkeypatch.setattr(f"pyrovae.evaluation.annealed_importance.{name}", stub)


def contents(folder: Path) -> dict[str, bytes | None]:
    """Everything below a folder, without what Python caches."""
    paths = [p for p in folder.rglob("*") if "__pycache__" not in p.parts]
    return {str(p): p.read_bytes() if p.is_file() else None for p in paths}


@pytest.fixture
def write_changed(here: Path) -> Callable[..., Path]:
    """Write a text to a file, with pieces of it replaced."""

    def write(text: str, changes: Sequence[tuple[str, str]], name: str) -> Path:
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        (here / name).write_text(text, encoding="utf-8")
        return Path(name)

    return write


@pytest.fixture
def write_program(write_changed: Any) -> WriteProgram:
    def write(*changes: tuple[str, str], name: str = "program.py") -> Path:
        return write_changed(PROGRAM, changes, name)

    return write


@pytest.fixture
def few(counts: Path) -> Splits:
    """The twenty images, split."""
    return load_data(counts)


@pytest.fixture
def make_training(few: Splits) -> MakeTraining:
    def make(
        inference: dict[str, Any] | None = None, model: dict[str, Any] | None = None
    ) -> Training:
        small = {"decoder": {"kind": "mlp", "widths": [16]}}
        declared = validate({**small, **(model or {})}, ModelSpec, "model")
        short = {"epochs": 3, "batch_size": 6}  # three steps an epoch, the last one short
        spec = validate({**short, **(inference or {})}, InferenceSpec, "inference")
        training = Training(build(declared, spec, few), few, spec)
        torch.manual_seed(spec.seed)
        return training

    return make


@pytest.fixture
def same() -> Callable[[Any, Any], bool]:
    """Whether two trees of numbers and tensors are bit for bit the same, but for seconds."""
    return equal


def equal(first: Any, second: Any) -> bool:
    if isinstance(first, Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        keys = (first.keys() | second.keys()) - {"seconds"}
        return all(k in first and k in second and equal(first[k], second[k]) for k in keys)
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(map(equal, first, second))
    return first == second


@pytest.fixture
def metrics() -> Callable[[Path], list[dict[str, Any]]]:
    """The records of a run's metrics, without seconds."""

    def read(folder: Path) -> list[dict[str, Any]]:
        lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        records = [json.loads(line) for line in lines]
        for record in records:
            del record["seconds"]
        return records

    return read


@pytest.fixture
def assert_same_runs(metrics: Any, same: Any) -> Callable[[Path, Path], None]:
    """Two runs are bit for bit the same, but for seconds."""

    def check(first: Path, second: Path) -> None:
        assert metrics(first) == metrics(second)
        states = [torch.load(run / "checkpoint.pt", weights_only=True) for run in (first, second)]
        assert same(*(saved["state"] for saved in states))
        for name in ("last", "best", "weights"):
            file = f"{name}.safetensors"
            assert (first / file).read_bytes() == (second / file).read_bytes()

    return check
