"""Datasets of HDF5 files and zarr stores hold what the same array in memory holds."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from pyrovae import load_data
from pyrovae.data import datasets
from pyrovae.data.sources import Source
from pyrovae.errors import DataError

N = 50
RNG = np.random.default_rng(0)
VALUES = {
    "real": RNG.normal(size=(N, 3)),
    "bytes": RNG.integers(0, 256, (N, 4, 4), np.uint8),
    "negative": RNG.integers(-9, 9, (N, 3)),
}
LABELS = np.arange(N) % 3


def write_h5(path: Path, x: Any, rows: int | None) -> Path:
    with h5py.File(path, "w") as file:
        chunks = None if rows is None else (rows, *x.shape[1:])
        file.create_dataset("cells/x", data=x, chunks=chunks, compression=chunks and "gzip")
        file["cells/labels"] = LABELS
    return path


def write_zarr(path: Path, x: Any, rows: int | None) -> Path:
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(path, mode="w").create_group("cells")
    group.create_array("x", data=x, chunks=(rows or len(x), *x.shape[1:]))
    group.create_array("labels", data=LABELS)
    return path


@pytest.mark.parametrize("suffix", ["h5", "zarr"])
def test_they_are_the_array(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    write = write_h5 if suffix == "h5" else write_zarr
    for name, x in VALUES.items():
        expected = load_data(x, LABELS)
        for rows in (None, 2, 20):
            path = write(tmp_path / f"{name}{rows}.{suffix}", x, rows)
            chunks = N if rows is None and suffix == "zarr" else rows or 0
            for most in (2**30, 0):
                monkeypatch.setattr(datasets, "IN_MEMORY", most)
                for source in (path, f"{path}:cells/x"):
                    found = load_data(source)
                    assert found.fingerprint() == expected.fingerprint(), (name, rows, most)
                    assert isinstance(found.train.x, Source) == (most == 0)
                    index = torch.tensor([4, 2, 2, 3, 0])
                    assert torch.equal(
                        found.test.batch(index % 5).x, expected.test.batch(index % 5).x
                    )
            # Rows that would be unpacked with many others are in one copy.
            copies = [*tmp_path.glob(f"{path.name}.*.npy")]
            assert len(copies) == (chunks > datasets.FEW), (name, rows)
    said = [record for record in caplog.records if "written once" in record.message]
    assert len(said) == len(VALUES) * (1 if suffix == "h5" else 2)


def test_a_copy_is_written_anew_when_the_values_have_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zarr = pytest.importorskip("zarr")
    monkeypatch.setattr(datasets, "IN_MEMORY", 0)
    x = VALUES["real"]
    for write in (write_h5, write_zarr):
        path = write(tmp_path / f"x.{write.__name__[6:]}", x, 20)
        load_data(path)
        if write is write_h5:
            with h5py.File(path, "a") as file:
                file["cells/x"][30] = 0.0
        else:
            zarr.open_group(path)["cells/x"][30] = 0.0
        changed = x.copy()
        changed[30] = 0.0
        assert load_data(path).fingerprint() == load_data(changed, LABELS).fingerprint()


def test_without_a_copy_they_are_read_where_they_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(datasets, "IN_MEMORY", 0)
    monkeypatch.setattr("pyrovae.data.mapped_copies._write", full)
    found = load_data(write_h5(tmp_path / "x.h5", VALUES["real"], 20))
    assert found.fingerprint() == load_data(VALUES["real"], LABELS).fingerprint()
    assert "no space left on device" in caplog.text
    assert "each row that is read unpacks 20" in caplog.text


def test_a_store_of_one_array_has_no_names(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    zarr.create_array(tmp_path / "x.zarr", data=VALUES["real"])
    assert load_data(tmp_path / "x.zarr").fingerprint() == load_data(VALUES["real"]).fingerprint()


def test_what_is_wrong_with_stores_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zarr = pytest.importorskip("zarr")
    path = tmp_path / "x.zarr"
    path.mkdir()
    with pytest.raises(DataError, match=r"x\.zarr cannot be read as zarr"):
        load_data(path)
    group = zarr.open_group(path, mode="w")
    for name in "ab":
        group.create_array(name, data=VALUES["real"])
    with pytest.raises(DataError, match=re.escape('choose one of a, b as in "x.zarr:a"')):
        load_data(path)
    with pytest.raises(DataError, match=r'no dataset "x": it holds a, b'):
        load_data(f"{path}:x")
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(DataError, match="pip install zarr"):
        load_data(path)
