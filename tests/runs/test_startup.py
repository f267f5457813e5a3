"""What a command does not import, so that it answers at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import pyrovae
from pyrovae.specs.tracking import TRACKERS

SLOW = {"torch", "numpy", "scipy", "pandas", "sklearn", "matplotlib", "torchvision", "xarray"}
MISTAKES = {
    "train": ["--set", "inference.epoch=1"],
    "sweep": ["nothing.toml"],
    "evaluate": ["run", "--sample-size", "5"],
    "diagnose": ["run", "--fulll"],
    "compare": ["run", "run"],
    "explore": ["run", "traversal"],
    "encode": ["run", "--output", "z.txt"],
    "sample": ["run", "--num", "3", "--output", "x.txt"],
    "reconstruct": ["run", "--output", "x.txt"],
    "__main__": ["trian"],
}


def loaded(*programs: str) -> list[set[str]]:
    """The modules that there are after each of these programs, in one process of its own."""
    root = str(Path(pyrovae.__file__).parents[1])
    script = "".join(f"{program}\nprint(*sys.modules)\n" for program in programs)
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{script}"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": root},
    )
    return [set(line.split()) for line in done.stdout.splitlines()[-len(programs) :]]


@pytest.mark.parametrize("command", MISTAKES)
@pytest.mark.parametrize("wrong", [True, False], ids=["mistake", "help"])
def test_a_mistake_and_help_are_answered_before_anything_slow_is_imported(
    command: str, wrong: bool
) -> None:
    arguments = MISTAKES[command] if wrong else ["--help"]
    (modules,) = loaded(
        f"from pyrovae.{command} import main\n"
        f"try: status = main({arguments})\n"
        "except SystemExit as stopped: status = stopped.code\n"
        f"assert status == {2 if wrong else 0}, status"
    )
    assert f"pyrovae.{command}" in modules
    assert not SLOW & modules
    # The help of train alone speaks of the keys of specifications.
    assert wrong or ("pydantic" in modules) == (command == "train")


def test_training_and_its_pictures_import_nothing_else_that_is_slow() -> None:
    trained, drawn = loaded(
        "import pyrovae.runs.train, pyrovae.runs.evaluate", "import pyrovae.report.figures"
    )
    assert "torch" in trained
    unwanted = {*SLOW, *TRACKERS, "torch._dynamo", "jinja2", "arviz"} - {"torch", "numpy"}
    assert not unwanted & trained
    assert "matplotlib" in drawn
    assert not {"torchvision", "sklearn", "scipy", "pandas", "torch._dynamo"} & drawn
