"""Facts that are kept beside a large file are those that would be found anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from pyrovae import Splits, load_data
from pyrovae.data.kept_facts import KeptFacts
from pyrovae.data.readers import MappedRows, SlicedRows

N = 60
X = np.random.default_rng(0).normal(size=(N, 3)).astype("f4")
KINDS = {"real": X, "counts": np.abs(X * 9).astype(np.int64), "images": np.abs(X).repeat(12, 1)}


@pytest.fixture(autouse=True)
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows that were read, of files that are all large."""
    found: list[int] = []
    for kind in (MappedRows, SlicedRows):

        def counted(self: Any, index: Any, own: Any = kind.read) -> Any:
            found.append(len(index))
            return own(self, index)

        monkeypatch.setattr(kind, "read", counted)
    for module in ("readers", "datasets", "npz"):
        monkeypatch.setattr(f"pyrovae.data.{module}.IN_MEMORY", 0)
    return found


def facts(data: Splits) -> list[Any]:
    statistics = [each.tolist() for part in data for each in (part.mean(), part.deviation())]
    return [data.fingerprint(), data.train.maximum, *statistics]


def test_a_second_time_no_rows_are_read(tmp_path: Path, reads: list[int]) -> None:
    for name, x in KINDS.items():
        x = x.reshape(N, 6, 6) if name == "images" else x
        np.save(tmp_path / f"{name}.npy", x)
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file["x"] = x
        for path in (tmp_path / f"{name}.npy", tmp_path / f"{name}.h5"):
            first = facts(load_data(path))
            assert first == facts(load_data(x)), path
            assert reads, path
            reads.clear()
            assert facts(load_data(path)) == first
            assert not reads, path


def test_another_file_of_the_name_has_its_own(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    for x in (X, X + 1, X[:, :2]):
        np.save(path, x)
        assert facts(load_data(path)) == facts(load_data(x))


def test_other_rows_columns_and_functions_have_their_own(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, KINDS["counts"])
    facts(load_data(path))
    part = np.load(path, mmap_mode="r")[5:]
    assert facts(load_data(part)) == facts(load_data(KINDS["counts"][5:]))
    own = (0.5, 0.3, 0.2)
    assert facts(load_data(path, split=own)) == facts(load_data(KINDS["counts"], split=own))
    (tmp_path / "x.toml").write_text('source = "x.npy"\n[transforms]\n"*" = "log1p"')
    expected = load_data(torch.tensor(KINDS["counts"]).float().log1p())
    assert load_data(tmp_path / "x.toml").fingerprint() == expected.fingerprint()


def test_nothing_is_kept_of_a_file_that_changed_while_it_was_open(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, X)
    rows = np.load(path, mmap_mode="r")
    data = load_data(rows)
    path.unlink()
    assert data.fingerprint() == load_data(X).fingerprint()
    np.save(path, X + 1)
    assert facts(data) == facts(load_data(X))
    assert facts(load_data(path)) == facts(load_data(X + 1))


def test_a_folder_that_cannot_be_written_and_a_damaged_file_do_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.npy"
    np.save(path, X)
    kept = KeptFacts(path, "all")
    for content in ("", "[]", '{"state": 1, "facts": 2}'):
        (tmp_path / ".x.npy.facts.json").write_text(content)
        assert kept.get("sum", lambda: 1.5) == 1.5
        assert kept.get("sum", lambda: 2.5) == 1.5
    (tmp_path / ".x.npy.facts.json").unlink()

    def full(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    assert kept.get("sum", lambda: 1.5) == 1.5
    assert kept.get("sum", lambda: 2.5) == 2.5
    assert [file.name for file in tmp_path.iterdir()] == ["x.npy"]
    torch.testing.assert_close(load_data(path).train.mean(), load_data(X).train.mean())
