"""Classes named in a specification: where they come from, their arguments, and a run with one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from pyrovae import InferenceSpec, Splits, build, fit
from pyrovae.__main__ import main
from pyrovae.errors import SpecError
from pyrovae.runs.loading import load_run
from pyrovae.specs import own
from pyrovae.specs.files import read

SGD = {"kind": "torch.optim:SGD", "learning_rate": 1e-3, "momentum": 0.9}
MINE = "import torch\nclass Slow(torch.optim.SGD):\n    pass\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, with all that is imported and searched put back afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])  # as python -m does
    monkeypatch.setattr("pyrovae.report.figures.draw_figures", lambda *_: [])
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    return tmp_path


def test_it_is_the_optimiser_that_is_given_as_a_function(few_digits: Splits) -> None:
    few = InferenceSpec(epochs=2, optimiser=SGD)
    found = build("vae", few, few_digits)
    fit(found, few_digits)
    plain = InferenceSpec(epochs=2)
    expected = build("vae", plain, few_digits)
    fit(expected, few_digits, optimiser=lambda p: torch.optim.SGD(p, lr=1e-3, momentum=0.9))
    for ours, theirs in zip(found.parameters(), expected.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_its_keys_are_kept_in_a_file(tmp_path: Path) -> None:
    spec = InferenceSpec(optimiser=SGD)
    file = tmp_path / "mine.toml"
    file.write_text(spec.to_toml(), encoding="utf-8")
    assert read(file, InferenceSpec) == spec
    assert spec.optimiser.model_dump(exclude_none=True) == SGD


def test_a_resumed_run_is_an_uninterrupted_one(here: Path, capsys: Any, caplog: Any) -> None:
    sets = [f"--set=inference.optimiser.{key}={value}" for key, value in SGD.items()]
    for folder, epochs in (("whole", 2), ("part", 1)):
        words = ["vae", "svi", "--output", folder, f"--set=inference.epochs={epochs}"]
        assert main(["train", *words, *sets]) == 0, capsys.readouterr().err
    assert "imports torch.optim:SGD" not in caplog.text
    assert main(["train", "--resume", "part", "--set=inference.epochs=2"]) == 0
    assert "imports torch.optim:SGD, which part names" in caplog.text
    whole, part = (Path(folder, "last.safetensors").read_bytes() for folder in ("whole", "part"))
    assert whole == part
    caplog.clear()
    load_run("part")
    assert "imports" not in caplog.text  # only training needs it


def test_only_folders_that_are_named_are_imported_from(here: Path, capsys: Any) -> None:
    (here / "code").mkdir()
    kind = ["--set", "inference.optimiser.kind=mine:Slow", "--dry-run"]
    for folder, words, status in (
        (here, [], 2),  # the current folder
        (here / "code", [], 2),
        (here / "code", ["--import-path", "code"], 0),
    ):
        (folder / "mine.py").write_text(MINE, encoding="utf-8")
        assert main(["train", *kind, *words]) == status
        said = capsys.readouterr().err
        assert ("name its folder with --import-path" in said) == (status == 2)
        (folder / "mine.py").unlink()
        sys.modules.pop("mine", None)
    (here / "code/run.json").touch()
    (here / "code/mine.py").write_text(MINE, encoding="utf-8")
    assert main(["train", *kind, "--import-path", "code"]) == 2
    assert "is in the folder of a run, which is not imported" in capsys.readouterr().err
    assert "mine" not in sys.modules


def test_mistakes_are_one_sentence(few_digits: Splits, here: Path) -> None:
    (here / "broken.py").write_text("1 / 0", encoding="utf-8")
    own.import_from(here)
    mistakes: dict[str, dict[str, Any]] = {
        "torch.optim has no class 'SDG'; did you mean 'SGD'": {"kind": "torch.optim:SDG"},
        "No module named 'torch.optimm': install it": {"kind": "torch.optimm:SGD"},
        "no key 'momentums'; did you mean 'momentum'": {**SGD, "momentums": 1},
        "Invalid momentum value": {**SGD, "momentum": -1.0},
        "learning_rate = -1.0: must be greater": {**SGD, "learning_rate": -1.0},
        "give module and class, as in package.module:Class": {"kind": ":SGD"},
        "Linear is no subclass of torch.optim.optimizer.Optimizer": {"kind": "torch.nn:Linear"},
        "broken cannot be imported: division by zero": {"kind": "broken:A"},
        "LBFGS evaluates the loss several times": {"kind": "torch.optim:LBFGS"},
    }
    for said, optimiser in mistakes.items():
        with pytest.raises(SpecError) as told:
            fit(build("vae", InferenceSpec(epochs=1, optimiser=optimiser), few_digits), few_digits)
        assert said in str(told.value), str(told.value)
        assert "\n" not in str(told.value)
    with pytest.raises(SpecError, match="--import-path nowhere: there is no such folder"):
        own.import_from(Path("nowhere"))
