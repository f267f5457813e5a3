"""Tables in files: the same data as the DataFrame, and what cannot be read."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pyrovae import load_data
from pyrovae.data.table_files import PLACES
from pyrovae.errors import DataError
from pyrovae.runs.output_files import PARQUET

X = np.random.default_rng(0).normal(size=(30, 2)).astype(np.float32)
FRAME = pd.DataFrame(X, columns=["height", "mass"]).assign(tall=X[:, 0] > 0, label=["a", "b"] * 15)


@pytest.mark.parametrize("index", [True, False])
def test_a_file_holds_what_the_frame_holds(tmp_path: Path, index: bool) -> None:
    FRAME.to_csv(tmp_path / "t.csv", index=index)
    read, given = load_data(tmp_path / "t.csv"), load_data(FRAME)
    assert read.name == "t.csv"
    assert read.train.columns == given.train.columns == ("height", "mass", "tall")
    assert read.fingerprint() == given.fingerprint()


@pytest.mark.skipif(not any(map(find_spec, PARQUET)), reason="pandas has no engine for parquet")
def test_parquet_files_hold_what_the_frame_holds(tmp_path: Path) -> None:
    FRAME.to_parquet(tmp_path / "t.parquet")
    assert load_data(tmp_path / "t.parquet").fingerprint() == load_data(FRAME).fingerprint()


def test_parquet_files_need_an_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for engine in PARQUET:
        monkeypatch.setitem(sys.modules, engine, None)
    (tmp_path / "t.parquet").touch()
    with pytest.raises(DataError, match=r"t\.parquet cannot be read: pandas needs pyarrow"):
        load_data(tmp_path / "t.parquet")


@pytest.mark.parametrize("index", [True, False])
def test_numbers_of_pandas_are_no_names(tmp_path: Path, index: bool) -> None:
    numbered = pd.DataFrame(np.arange(60).reshape(30, 2))
    numbered.to_csv(tmp_path / "t.csv", index=index)
    read = load_data(tmp_path / "t.csv")
    assert read.fingerprint() == load_data(numbered).fingerprint()
    assert read.train.columns == ()


def test_places_of_results_are_no_data_and_columns_of_the_same_names_are(tmp_path: Path) -> None:
    places = pd.DataFrame({"index": range(30), "row": range(30, 0, -1)})
    for name, frame, columns in (
        ("results", pd.concat([places, FRAME], axis=1), ()),
        ("no place", pd.concat([places.iloc[::-1].reset_index(drop=True), FRAME], axis=1), PLACES),
        ("behind", pd.concat([FRAME, places], axis=1), PLACES),
    ):
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
        found = load_data(tmp_path / f"{name}.csv").train.columns
        assert {*found} == {"height", "mass", "tall", *columns}, name


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("5.1,3.5\n" * 20, "begins with numbers: put a line with names of the columns first"),
        ("", r"cannot be read \(No columns"),
        ("a,b\n1,2\n1,2,3,4\n", r"cannot be read \(.*line 3"),
        ("a;b\n" + "1;2\n" * 20, "one value for each name: part values by commas"),
        ("a;b\n" + "1,5;2,5\n" * 20, "one value for each name: .* with points"),
        ("a\tb\n" + "1.5\t2.5\n" * 20, "one value for each name"),
        ("a,b\n" + "1,2,3\n" * 20, "one value for each name"),
        ("a,b\n", "has no rows below its line of names"),
        ("a,town\n" + "1,x\n" * 20, "columns town do not hold numbers"),
        ("a\n1\n", "holds 1 observations"),
        ("label\n" + "1\n" * 20, "is empty"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match=rf"t\.csv.*{sentence}") as error:
        load_data(tmp_path / "t.csv")
    assert "\n" not in str(error.value)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"\xff\xfe\x00\x81" * 40)
    with pytest.raises(DataError, match=r"t\.csv cannot be read"):
        load_data(tmp_path / "t.csv")
