"""Parquet files that do not go into memory hold what they hold in memory."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pyrovae import load_data
from pyrovae.data import Splits, large_tables, mapped_copies
from pyrovae.data.sources import Source
from pyrovae.errors import DataError

pytest.importorskip("pyarrow")

N = 50
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 2))
FRAME = pd.DataFrame(X, columns=["height", "mass"]).assign(tall=X[:, 0] > 0, age=range(N))
TOWN = [f"town {i // 5}" for i in range(N)]
TABLES = {
    "real": FRAME,
    "whole": pd.DataFrame(RNG.integers(0, 300, (N, 3)).astype(np.int16), columns=[*"abc"]),
    "negative": pd.DataFrame(RNG.integers(-9, 9, (N, 3)), columns=[*"abc"]),
    "bits": pd.DataFrame(RNG.integers(0, 2, (N, 3)).astype(bool), columns=[*"abc"]),
    "numbered": pd.DataFrame(X),
    "classes": FRAME.assign(label=[*"xyxzy"] * 10),
    "numbers of classes": FRAME.assign(labels=RNG.integers(0, 3, N)),
    "both": FRAME.assign(labels=1.5, label=1),
    "an index": FRAME.set_index(pd.Index(TOWN, name="town")),
    "results": pd.concat(
        [pd.DataFrame({"index": range(N), "row": range(N, 0, -1)}), FRAME], axis=1
    ),
    "nullable": FRAME.convert_dtypes(),
}


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Splits]:
    """Read a table as if it were larger than may be in memory, in parts of some rows."""

    def read(path: Path, **options: Any) -> Splits:
        with monkeypatch.context() as patch:
            patch.setattr(large_tables, "IN_MEMORY", 0)
            patch.setattr(large_tables, "VALUES", 40)
            return load_data(path, **options)

    return read


def require_same(one: Splits, other: Splits, what: str = "") -> None:
    assert isinstance(one.train.x, Source), what
    assert one.fingerprint() == other.fingerprint(), what
    assert repr(one) == repr(other)
    assert one.train.columns == other.train.columns
    assert one.train.maximum == other.train.maximum


def test_a_table_holds_what_it_holds_in_memory(
    tmp_path: Path, large: Callable[..., Splits]
) -> None:
    for kind, frame in TABLES.items():
        path = tmp_path / f"{kind}.parquet"
        frame.to_parquet(path, row_group_size=17)
        require_same(large(path), load_data(path), kind)


def test_columns_say_how_to_split_as_in_memory(
    tmp_path: Path, large: Callable[..., Splits]
) -> None:
    path = tmp_path / "t.parquet"
    FRAME.assign(town=TOWN, label=[*"xyxzy"] * 10).to_parquet(path)
    for split in ({"group": "town"}, {"group": "town", "stratify": "label"}):
        require_same(large(path, split=split), load_data(path, split=split))
    with pytest.raises(DataError, match=r"has no column 'twon'; .*town"):
        large(path, split={"group": "twon"})


def test_values_are_written_once_and_anew_where_the_table_is_another(
    tmp_path: Path, large: Callable[..., Splits], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, written = tmp_path / "t.parquet", []
    own = mapped_copies._write
    monkeypatch.setattr(mapped_copies, "_write", lambda *some: (written.append(1), own(*some))[1])
    for seconds, frame, count in ((1, FRAME, 1), (1, FRAME, 1), (2, FRAME * 2, 2)):
        if count > len(written):
            frame.to_parquet(path)
            os.utime(path, (seconds, seconds))
        require_same(large(path), load_data(path))
        assert len(written) == count
    large(path, split={"group": "age"})
    assert len(written) == 3  # of other columns
    require_same(large(path), load_data(path))
    assert len(written) == 3
    assert len([*tmp_path.glob("t.parquet.*.npy")]) == 2
    assert not [*tmp_path.glob("*.part")]


def test_a_table_that_lacks_values_is_read_into_memory_and_this_is_said(
    tmp_path: Path, large: Callable[..., Splits], caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "t.parquet"
    FRAME.assign(mass=np.where(np.arange(N) == 40, np.nan, X[:, 1])).to_parquet(path)
    assert large(path).fingerprint() == load_data(path).fingerprint()
    assert "t.parquet lacks values, and is read into memory" in caplog.text
    assert [file.name for file in tmp_path.iterdir() if file.suffix != ".lock"] == ["t.parquet"]


def test_what_is_wrong_with_a_large_table_is_one_sentence(
    tmp_path: Path, large: Callable[..., Splits], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "t.parquet"
    for frame, sentence in (
        (FRAME.assign(town=TOWN), "columns town do not hold numbers"),
        (FRAME.assign(mass=np.where(np.arange(N) == 40, np.inf, 1.0)), "mass hold infinite"),
        (FRAME.assign(mass=np.where(np.arange(N) == 40, 1e30, 1.0)), "observation 40"),
        (FRAME.assign(label=1.5), "column label is taken for classes"),
    ):
        frame.to_parquet(path)
        with pytest.raises(DataError, match=rf"t\.parquet.*{sentence}"):
            large(path)
    FRAME.to_parquet(path)
    content = bytearray(path.read_bytes())
    content[4:400] = bytes(396)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"t\.parquet cannot be read \(.*save it again"):
        large(path)
    FRAME.to_parquet(path)

    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(mapped_copies, "_write", full)
    with pytest.raises(DataError, match=r"t\.parquet: its values cannot be written to .*no space"):
        large(path)
