"""A split of one's own is recorded, and is the same whenever the run is opened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pyrovae.__main__ import main
from pyrovae.runs.facts import RunFacts
from pyrovae.runs.loading import load_run

EPOCHS = ["--set", "inference.epochs=1"]


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pyrovae.report.figures.draw_figures", lambda *_: [])
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(60, 3)), columns=list("abc"))
    frame = frame.assign(patient=[f"p{i // 4}" for i in range(60)])
    frame.to_csv("table.csv", index=False)
    return frame


def test_a_run_keeps_its_split(table: pd.DataFrame, capsys: Any, caplog: Any) -> None:
    words = ["train", "--data", "table.csv", "--output", "run", *EPOCHS]
    assert main([*words, "--split", "group=patient", "--split", "fractions=0.6,0.2,0.2"]) == 0
    facts = RunFacts.read(Path("run")).data
    assert facts.split == {"fractions": [0.6, 0.2, 0.2], "group": "patient"}
    run = load_run("run")
    assert run.notes == ()  # the data are those that it was fitted to
    sides = [{*table.patient[split.rows.numpy()]} for split in run.data]
    assert sum(map(len, sides)) == len(set.union(*sides))
    more = ["train", "--resume", "run", "--set", "inference.epochs=2"]
    assert main(more) == 0, capsys.readouterr().err
    assert main(["encode", "run", "--split", "all", "--output", "z.csv"]) == 0
    assert list(pd.read_csv("z.csv")["row"]) == list(range(60))
    assert main([*more, "--split", "group=patient"]) == 2
    assert "--split has no use with --resume" in capsys.readouterr().err


def test_files_that_a_run_names_are_announced(table: pd.DataFrame, caplog: Any) -> None:
    rows = {"train": np.arange(40), "validation": np.arange(40, 50), "test": np.arange(50, 60)}
    np.savez("rows.npz", **rows)
    table.drop(columns="patient").to_csv("values.csv", index=False)
    words = ["train", "--data", "values.csv", "--output", "run", *EPOCHS]
    assert main([*words, "--split", "rows=rows.npz"]) == 0
    assert load_run("run").data.test.rows.tolist() == list(range(50, 60))
    assert str(Path("rows.npz").absolute()) in caplog.text
    Path("rows.npz").unlink()
    assert main(["evaluate", "run"]) == 2


def test_a_mistake_is_one_sentence(table: pd.DataFrame, capsys: Any) -> None:
    assert main(["train", "--data", "table.csv", "--split", "group=patent"]) == 2
    error = capsys.readouterr().err
    assert "split: table.csv has no column 'patent'; did you mean 'patient'" in error
    assert len(error.splitlines()) == 1
