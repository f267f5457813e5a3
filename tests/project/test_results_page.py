"""docs/results.md tells the truth of today: every command and line of it runs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

import pyrovae.report.figures
from pyrovae.__main__ import main

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/results.md").read_text(encoding="utf-8")
PAGE = re.sub(r"(refine.steps.)50", r"\g<1>2", PAGE)  # each step is done; fifty take long
COMMANDS = re.findall(r"^\$ pyrovae ([^#\n]*)", PAGE, flags=re.MULTILINE)


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the run and the data that the page names."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pyrovae.report.figures, "draw_figures", lambda *_: [])
    np.save("other.npy", np.random.default_rng(0).integers(0, 17, (20, 8, 8)))
    assert main(["train", "--output", "runs/mine", "--set", "inference.epochs=1"]) == 0
    return tmp_path / "runs"


@pytest.mark.usefixtures("fewer")
def test_every_command_and_line_of_the_page_runs(runs: Path) -> None:
    assert {command.split()[0] for command in COMMANDS} == {"encode", "sample", "reconstruct"}
    for command in COMMANDS:
        assert main(shlex.split(command)) == 0, command
    names = {file.name for file in (runs / "mine" / "results").iterdir()}
    assert names == {"latents-digits-test.csv", "latents-other.npy-all.csv", "samples.npy"}
    found: dict = {}
    exec("".join(re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)), found)
    assert len(found["z"]) == len(found["x"]) == 360
    assert Path(found["page"]).is_file()
    assert np.isfinite(found["elbo"])
