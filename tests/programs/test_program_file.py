"""Python files with a model and a guide."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

from pyrovae.programs.program_file import ProgramFile
from pyrovae.specs.program import ProgramSpec

PROGRAM = """
number = {number}
def model(x=None): pass
def guide(x): pass
"""


def test_a_file_that_changes_within_a_second_is_run_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.dont_write_bytecode", False)
    path = tmp_path / "mine.py"
    for number in (1, 2):  # of one length, as byte code is known by size and seconds
        path.write_text(PROGRAM.format(number=number))
        os.utime(path, (1e9, 1e9))
        assert ProgramFile.load(ProgramSpec(file=path)).owner.number == number
    assert not Path(importlib.util.cache_from_source(str(path))).exists()
