"""Data by the name of a function are what the function returns."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pyrovae import load_data
from pyrovae.__main__ import main
from pyrovae.data.functions import is_function
from pyrovae.errors import DataError, SpecError

CODE = """
import numpy as np, pandas as pd, pyrovae
x = np.random.default_rng(0).integers(0, 5, (60, 3))
def array(): return x
def frame(): return pd.DataFrame(x[:, :2], columns=["a", "b"]).assign(g=np.arange(60) // 3)
def classes(): return pyrovae.load_data(x, labels=x[:, 0])
def rows(): return np.load("rows.npy", mmap_mode="r")
def wrong(): raise KeyError("no such table")
def nothing(): return None
number = 3
"""


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a module, which may be imported from there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "own_rows.py").write_text(CODE)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "code")])
    monkeypatch.delitem(sys.modules, "own_rows", raising=False)
    return tmp_path / "code"


def test_they_are_what_the_function_returns(code: Path) -> None:
    x = np.random.default_rng(0).integers(0, 5, (60, 3))
    np.save("rows.npy", x.astype("float32"))
    for name, expected in {
        "array": load_data(x),
        "classes": load_data(x, labels=x[:, 0]),
        "rows": load_data(x.astype("float32")),
    }.items():
        found = load_data(f"own_rows:{name}")
        assert found.fingerprint() == expected.fingerprint()
    assert load_data("own_rows:frame").train.columns == ("a", "b", "g")
    grouped = load_data("own_rows:frame", split={"group": "g"})
    assert grouped.train.columns == ("a", "b")
    assert load_data("own_rows:array").train.name == "own_rows:array"


def test_files_and_names_are_no_functions(code: Path) -> None:
    Path("a:b").touch()
    for source in ("digits", "x.npz:x", "cells.h5ad:counts", "rows.h5:x", "a:b", "x.npy", "C:\\x"):
        assert not is_function(source)
    assert is_function("own_rows:array")


def test_what_is_wrong_is_a_sentence(code: Path) -> None:
    for name, words in {
        "arry": "has no function 'arry'; did you mean 'array'",
        "number": "has no function 'number'",
        "wrong": "no such table",
        "nothing": "data of type NoneType cannot be taken",
    }.items():
        with pytest.raises(DataError, match=words):
            load_data(f"own_rows:{name}")
    with pytest.raises(SpecError, match="install it, or name its folder with --import-path"):
        load_data("own_row:array")


def test_a_run_keeps_the_name_and_calls_it_again(code: Path, capsys: Any, caplog: Any) -> None:
    sys.path.remove(str(code))
    words = ["--data", "own_rows:array", "--set=inference.epochs=1"]
    assert main(["train", *words]) == 2
    assert "--import-path" in capsys.readouterr().err
    assert main(["train", *words, "--output=run", "--import-path", str(code)]) == 0
    assert "imports" not in caplog.text
    sys.path.remove(str(code))
    del sys.modules["own_rows"]
    asked = ["evaluate", "run", "--samples=5"]
    assert main(asked) == 2
    assert "own_rows" in capsys.readouterr().err
    assert main([*asked, "--import-path", str(code)]) == 0
    assert "imports own_rows:array, which run names" in caplog.text
    source = (code / "own_rows.py").read_text().replace("default_rng(0)", "default_rng(1)")
    (code / "own_rows.py").write_text(source)
    torch.manual_seed(0)
    del sys.modules["own_rows"]
    assert main(["train", "--resume", "run", "--set=inference.epochs=2"]) == 2
    assert "begun on other data" in capsys.readouterr().err
