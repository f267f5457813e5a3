"""`make gpu` (benchmarks/gpu.py): goes on where it was, after failures too, and ends in time."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(FOLDER)
    module = importlib.import_module("gpu")
    monkeypatch.setattr(module, "GRACE", 0.1)
    monkeypatch.setattr(module, "LEAST", 0.1)
    return module


def of_python(module: Any, name: str, code: str, share: float = 1.0) -> Any:
    return module.Part(name, (sys.executable, "-c", code), share)


def test_a_second_call_does_what_failed_and_what_was_stopped(
    gpu: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    adds = f"open({str(tmp_path / 'calls')!r}, 'a').write"
    listed = [
        of_python(gpu, "broken", f"{adds}('b'); raise SystemExit(3)"),
        of_python(gpu, "slow", f"{adds}('s'); import time; time.sleep(60)", share=0.01),
        of_python(gpu, "right", f"{adds}('r'); print('of 7')"),
    ]
    monkeypatch.setattr(gpu, "parts", lambda *_: listed)
    arguments = ["gpu.py", "--device", "cpu", "--minutes", "1", "--output", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", arguments)
    assert gpu.main() == 1
    found = json.loads((tmp_path / "cpu" / "gpu.json").read_text("utf-8"))
    outcomes = {name: part["outcome"] for name, part in found.items()}
    assert outcomes == {
        "broken": "failed with status 3",
        "slow": "stopped at its deadline",
        "right": "done",
    }
    assert found["right"]["last_line"] == "of 7"
    assert gpu.main() == 1
    assert (tmp_path / "calls").read_text("utf-8") == "bsrbs"
    assert "| right | done |" in (tmp_path / "cpu" / "gpu.md").read_text("utf-8")


def test_without_a_gpu_it_says_so(
    gpu: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    assert gpu.main() == 2
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_every_row_is_one_of_the_published_ones(gpu: Any) -> None:
    assert set(gpu.ROWS) <= importlib.import_module("published").ROWS.keys()
