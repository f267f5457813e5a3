"""What a command does not import, so that it answers at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import pyrovae

SLOW = {"torch", "numpy", "scipy", "pandas", "sklearn", "matplotlib", "torchvision", "xarray"}
MISTAKES = {
    "train": ["--set", "inference.epoch=1"],
    "evaluate": ["run", "--sample-size", "5"],
    "diagnose": ["run", "--fulll"],
    "compare": ["run", "run"],
    "explore": ["run", "traversal"],
}


def loaded(program: str) -> set[str]:
    """The modules that there are at the end of a program in a process of its own."""
    root = str(Path(pyrovae.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{program}\nprint(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": root},
    )
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("command", MISTAKES)
@pytest.mark.parametrize("wrong", [True, False], ids=["mistake", "help"])
def test_a_mistake_and_help_are_answered_before_anything_slow_is_imported(
    command: str, wrong: bool
) -> None:
    arguments = MISTAKES[command] if wrong else ["--help"]
    modules = loaded(
        f"from pyrovae.{command} import main\n"
        f"try: status = main({arguments})\n"
        "except SystemExit as stopped: status = stopped.code\n"
        f"assert status == {2 if wrong else 0}, status"
    )
    assert f"pyrovae.{command}" in modules
    assert not SLOW & modules


def test_training_imports_neither_pictures_nor_scores() -> None:
    modules = loaded("import pyrovae.runs.train, pyrovae.runs.evaluate")
    assert "torch" in modules
    unwanted = {*SLOW, "torch._dynamo", "jinja2", "arviz"} - {"torch", "numpy"}
    assert not unwanted & modules


def test_pictures_of_a_training_are_drawn_without_what_is_slow_to_import() -> None:
    modules = loaded("import pyrovae.report.figures")
    assert "matplotlib" in modules
    assert not {"torchvision", "sklearn", "scipy", "pandas", "torch._dynamo"} & modules
