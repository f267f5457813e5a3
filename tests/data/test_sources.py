"""Observations that stay where they lie are the same observations."""

from __future__ import annotations

import re
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from pyrovae import build, load_data
from pyrovae.compute.randomness import seeded
from pyrovae.data import Dataset, Splits, datasets, from_arrays, npz
from pyrovae.data.binarise import binarise
from pyrovae.data.contract import Contract
from pyrovae.data.sources import Source
from pyrovae.errors import DataError
from pyrovae.evaluation.support_check import check_support

N = 60
RNG = np.random.default_rng(0)
KINDS = {
    "float32": RNG.normal(size=(N, 5)).astype(np.float32),
    "float64": RNG.normal(size=(N, 5)),
    "counts": RNG.poisson(3.0, size=(N, 5)),
    "negative": RNG.integers(-9, 9, size=(N, 5)),
    "bits": RNG.integers(0, 2, size=(N, 5)).astype(bool),
    "bytes of bits": RNG.integers(0, 2, size=(N, 5)).astype(np.uint8),
    "grey": RNG.integers(0, 256, size=(N, 4, 3)).astype(np.uint8),
    "channels last": RNG.integers(0, 256, size=(N, 4, 3, 3)).astype(np.uint8),
    "channels first": RNG.integers(0, 256, size=(N, 3, 4, 5)).astype(np.int16),
    "unit images": RNG.random((N, 4, 3)),
    "real images": RNG.normal(size=(N, 4, 3)),
}


class Rows:
    """An object with a length and rows by index, and no more."""

    def __init__(self, x: np.ndarray) -> None:
        self.x = x

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> np.ndarray:
        return self.x[i]


def mapped(x: np.ndarray, folder: Path) -> Any:
    path = folder / f"{x.dtype}_{x.ndim}.npy"
    np.save(path, x)
    return np.load(path, mmap_mode="r")


def hdf5(x: np.ndarray, folder: Path) -> Any:
    file = h5py.File(folder / f"{len(list(folder.iterdir()))}.h5", "w")
    return file.create_dataset("rows", data=x, chunks=(7, *x.shape[1:]), compression="gzip")


def objects(x: np.ndarray, folder: Path) -> Any:
    return Rows(x)


PLACES = {"mapped": mapped, "hdf5": hdf5, "objects": objects}
places = pytest.mark.parametrize("place", PLACES.values(), ids=PLACES.keys())


def whole(split: Dataset) -> Tensor:
    with seeded(0, split.x.device):
        return split.batch(torch.arange(len(split))).x


@places
def test_rows_that_stay_where_they_lie_are_those_in_memory(place: Any, tmp_path: Path) -> None:
    for kind, x in KINDS.items():
        memory, apart = from_arrays(x), load_data(place(x, tmp_path))
        assert isinstance(apart.train.x, Source), kind
        assert apart.fingerprint() == memory.fingerprint(), kind
        assert apart.train.maximum == memory.train.maximum, kind
        for one, other in zip(memory, apart, strict=True):
            torch.testing.assert_close(whole(other), whole(one), rtol=0, atol=0)
            assert torch.equal(other.mean(), one.mean())
            assert torch.equal(other.deviation(), one.deviation())


def test_indices_in_any_order_and_twice_give_their_rows(tmp_path: Path) -> None:
    x = KINDS["float32"]
    for place in PLACES.values():
        source = load_data(place(x, tmp_path)).train.x
        index = torch.tensor([7, 3, 3, 59, 0, 1, 2, 7])
        torch.testing.assert_close(source.index_select(0, index), torch.from_numpy(x)[index])


def test_bits_are_the_same_wherever_grey_values_lie(tmp_path: Path) -> None:
    x = KINDS["grey"]
    memory, apart = from_arrays(x), load_data(mapped(x, tmp_path))
    for kind in ("threshold", "dynamic"):
        seen = [Contract(binarisation=kind).apply(splits).train for splits in (memory, apart)]
        assert torch.equal(*map(whole, seen))
    with pytest.raises(DataError, match=r"not in memory: choose \"dynamic\" or \"threshold\""):
        binarise(apart, "static")
    bits = load_data(mapped(KINDS["bytes of bits"], tmp_path))
    assert binarise(bits, "static") is bits


def test_columns_are_moved_as_in_memory(tmp_path: Path) -> None:
    names = tuple("abcde")
    memory = from_arrays(KINDS["float32"], columns=names)
    source = load_data(mapped(KINDS["float32"], tmp_path)).train.x
    apart = Splits(*(Dataset(s.name, source, s.rows, None, None, columns=names) for s in memory))
    order = tuple("cabed")
    seen = [Contract(columns=order).apply(splits).train for splits in (memory, apart)]
    assert torch.equal(*map(whole, seen))


def test_what_is_read_ahead_is_what_is_asked_for_even_if_it_is_something_else(
    tmp_path: Path,
) -> None:
    x = torch.from_numpy(KINDS["float32"])
    source = load_data(mapped(KINDS["float32"], tmp_path)).train.x
    assert isinstance(source, Source)
    for ahead, asked in (([1, 2], [1, 2]), ([5, 2], [2, 5]), ([3], [4])):
        source.read_ahead(torch.tensor(ahead))
        found = source.index_select(0, torch.tensor(asked))
        torch.testing.assert_close(found, x[asked])


def test_the_next_batch_is_read_while_a_step_is_taken() -> None:
    readers: list[tuple[str, int]] = []

    class Slow(Rows):
        def __getitem__(self, i: int) -> np.ndarray:
            readers.append((threading.current_thread().name, i))
            return super().__getitem__(i)

    source = load_data(Slow(KINDS["float32"])).train.x
    assert isinstance(source, Source)
    readers.clear()
    source.read_ahead(torch.tensor([4]))
    deadline = time.monotonic() + 10
    while not readers and time.monotonic() < deadline:
        time.sleep(0.001)
    assert [i for _, i in readers] == [4]  # before anyone asked
    source.index_select(0, torch.tensor([4]))
    assert [i for _, i in readers] == [4]  # and not again
    assert readers[0][0].startswith("pyrovae-rows")


def test_an_object_is_never_used_by_two_threads_at_once() -> None:
    busy = threading.Lock()

    class Jealous(Rows):
        def __getitem__(self, i: int) -> np.ndarray:
            assert busy.acquire(blocking=False)
            time.sleep(0.001)
            busy.release()
            return super().__getitem__(i)

    data = Contract(interval="unit").apply(load_data(Jealous(KINDS["float32"])))
    assert isinstance(data.train.x, Source)
    other = data.train.x.changed(lambda rows: rows)
    for start in range(0, 30, 5):
        data.train.x.read_ahead(torch.arange(start, start + 5))
        other.index_select(0, torch.arange(start, start + 5))


def test_data_sets_of_pytorch_are_data_and_pairs_begin_with_the_observation() -> None:
    x = torch.from_numpy(KINDS["float32"])
    memory = from_arrays(x)
    for items in (TensorDataset(x), TensorDataset(x, torch.arange(N))):
        assert load_data(items).fingerprint() == memory.fingerprint()
    labelled = load_data(TensorDataset(x), labels=np.arange(N) % 3)
    assert labelled.train.labels is not None
    assert torch.equal(labelled.train.labels, torch.arange(N) % 3)


def test_files_above_a_size_stay_on_disk_and_below_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, labels = KINDS["counts"], np.arange(N) % 4
    np.save(tmp_path / "rows.npy", x)
    with h5py.File(tmp_path / "rows.h5", "w") as file:
        file["cells/x"], file["cells/labels"] = x, labels
    paths = [tmp_path / "rows.npy", tmp_path / "rows.h5", f"{tmp_path}/rows.h5:cells/x"]
    small = [load_data(path) for path in paths]
    monkeypatch.setattr(npz, "IN_MEMORY", 100)
    monkeypatch.setattr(datasets, "IN_MEMORY", 100)
    large = [load_data(path) for path in paths]
    for one, other in zip(small, large, strict=True):
        assert isinstance(one.train.x, Tensor)
        assert isinstance(other.train.x, Source)
        assert one.fingerprint() == other.fingerprint()
        assert one.name == other.name
    assert large[0].train.labels is None
    assert torch.equal(large[1].train.labels, torch.from_numpy(labels))


def test_a_check_of_the_support_names_the_value_wherever_it_lies(tmp_path: Path) -> None:
    x = KINDS["counts"].astype(np.float32)
    x[17, 2] = 2.5
    data = load_data(mapped(x, tmp_path))
    vae = build("vae", "svi", data, {"model.likelihood.kind": "poisson"})
    everything = replace(data.train, rows=torch.arange(N))
    with pytest.raises(DataError, match=r"float32_2\.npy has the value 2\.5.*Poisson"):
        check_support(vae, everything)


def test_bytes_are_checked_against_the_support_whichever_of_them_there_are(
    tmp_path: Path,
) -> None:
    grey = load_data(mapped(KINDS["grey"], tmp_path))
    for kind in ("binomial", "beta", "poisson"):
        vae = build("vae", "svi", grey, {"model.likelihood.kind": kind})
        check_support(vae, vae.contract.apply(grey).train)
    bits = load_data(mapped(KINDS["bytes of bits"], tmp_path))
    vae = build("vae", "svi", bits, {"model.likelihood.kind": "bernoulli"})
    with pytest.raises(DataError, match=r"has the value \d+, and .*Bernoulli"):
        check_support(vae, grey.train)


WRONG = {
    "not finite": (np.where(np.arange(N * 5).reshape(N, 5) == 201, np.nan, 1.0), "observation 40"),
    "too large": (np.where(np.arange(N * 5).reshape(N, 5) == 201, 1e30, 1.0), "observation 40"),
    "few": (np.ones((9, 5)), "give at least 10"),
    "no rows": (np.ones(N), "give a table"),
    "complex": (np.ones((N, 5), dtype=complex), "type complex128"),
}


@pytest.mark.parametrize(("x", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_with_rows_is_said(x: np.ndarray, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        load_data(mapped(x, tmp_path))


class Broken(Rows):
    def __getitem__(self, i: int) -> Any:
        if i == 21:
            raise OSError("no such tape")
        return super().__getitem__(i)


class Uneven(Rows):
    def __getitem__(self, i: int) -> Any:
        return super().__getitem__(i)[: 4 if i == 21 else 5]


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (Broken(KINDS["float32"]), r"observation 21 cannot be read \(no such tape\)"),
        (Uneven(KINDS["float32"]), r"item 21 has shape \(4,\) .* item 0 has \(5,\)"),
        (Rows(np.array(["a"] * 20)), "item 0 holds values of type <U1: give numbers"),
        (Rows(np.empty((0, 3))), "is empty"),
    ],
)
def test_what_is_wrong_with_objects_is_said(items: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_data(items)


def test_what_is_wrong_with_hdf5_files_is_said(tmp_path: Path) -> None:
    path = tmp_path / "rows.h5"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(DataError, match=r"rows\.h5 cannot be read as HDF5"):
        load_data(path)
    with h5py.File(path, "w") as file:
        file["a"], file["b"], file["c"] = np.ones((20, 2)), np.ones((20, 3)), np.arange(20)
    with pytest.raises(DataError, match=re.escape('choose one of a, b as in "rows.h5:a"')):
        load_data(path)
    with pytest.raises(DataError, match=r'no dataset "x": it holds a, b, c'):
        load_data(f"{path}:x")
