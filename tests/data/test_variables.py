"""Variables beside the observations: read by name, masked, passed on batch by batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pyrovae import load_data
from pyrovae.data import Batch, Splits, from_arrays
from pyrovae.data.contract import Contract
from pyrovae.errors import DataError

N = 30
X = np.random.default_rng(0).normal(size=(N, 3))
CLASSES = np.arange(N) % 4


def written(path: Path, **arrays: Any) -> Splits:
    np.savez(path / "data.npz", **{"x": X, **arrays})
    return load_data(path / "data.npz")


def test_arrays_beside_x_are_variables_of_the_same_rows(tmp_path: Path) -> None:
    data = written(tmp_path, dose=X[:, 0], y=CLASSES, y_known=CLASSES > 1, names=["a"] * N)
    seen = Contract(variables=("y", "dose", "y_known")).apply(data)
    for split in seen:
        batch = split.batch(torch.arange(len(split)))
        assert list(batch.variables) == ["x", "y", "dose", "y_known"]
        assert torch.equal(batch.others["dose"], batch.x[:, 0])
        assert torch.equal(batch.others["y_known"], torch.from_numpy(CLASSES > 1)[split.rows])
        assert {tensor.dtype for tensor in batch.tensors} == {
            torch.float32,
            torch.int64,
            torch.bool,
        }


def test_programs_that_ask_for_nothing_get_x_alone(tmp_path: Path) -> None:
    data = written(tmp_path, y=CLASSES)
    assert list(data.train.batch(torch.arange(2)).variables) == ["x"]


def test_classes_are_the_variable_y() -> None:
    data = from_arrays(X, labels=CLASSES)
    batch = Contract(variables=("y",)).apply(data).test.batch(torch.arange(3))
    assert torch.equal(batch.others["y"], data.test.label(torch.arange(3)))


@pytest.mark.parametrize("placeholder", [np.nan, np.inf, -99.0])
def test_what_stands_in_an_unknown_place_has_no_effect(placeholder: float) -> None:
    known = np.random.default_rng(1).random(X.shape) < 0.7
    filled, holed = (
        from_arrays(x, variables={"x_known": known}) for x in (X, hidden(known, placeholder))
    )
    assert torch.equal(filled.train.x, holed.train.x)
    assert filled.fingerprint() == holed.fingerprint()


def hidden(known: np.ndarray, placeholder: float) -> np.ndarray:
    return np.where(known, X, placeholder)


def test_masks_of_images_have_the_shape_of_images() -> None:
    images, known = np.ones((N, 4, 5), np.uint8), np.ones((N, 4, 5), bool)
    data = Contract(variables=("x_known",)).apply(
        from_arrays(images, variables={"x_known": known})
    )
    batch = data.train.batch(torch.arange(2))
    assert batch.others["x_known"].shape == batch.x.shape == (2, 1, 4, 5)


@pytest.mark.parametrize(
    ("arrays", "complaint"),
    [
        ({"x_known": np.ones((N, 2), bool)}, r"x_known has shape \(30, 2\), and x has \(30, 3\)"),
        ({"y": CLASSES, "y_known": np.ones(7)}, r"y_known has shape \(7,\)"),
        ({"y": CLASSES, "y_known": X[:, 0]}, "y_known holds values of type float64"),
        ({"dose": np.full(N, np.nan)}, "dose holds 30 values that are NaN"),
    ],
)
def test_variables_that_do_not_fit_are_refused(
    tmp_path: Path, arrays: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(DataError, match=complaint):
        written(tmp_path, **arrays)


def test_a_variable_that_is_not_there_is_named() -> None:
    with pytest.raises(DataError, match=r"no variable dose, which the programs take: it has x, y"):
        Contract(variables=("dose",)).apply(from_arrays(X, labels=CLASSES))


def test_batches_are_split_joined_and_repeated_row_by_row() -> None:
    batch = Batch(torch.arange(6.0).reshape(3, 2), {"y": torch.arange(3)})
    parts = batch.split(2)
    assert [len(part) for part in parts] == [2, 1]
    for again in (Batch.cat(parts), batch[:], batch.repeat(1), batch.rebuilt(batch.tensors)):
        assert all(map(torch.equal, again.tensors, batch.tensors))
    assert batch.repeat(2).others["y"].tolist() == [0, 1, 2, 0, 1, 2]
