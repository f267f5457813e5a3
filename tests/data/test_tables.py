"""DataFrames: names of columns, classes, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from pyrovae import load_data
from pyrovae.data import from_arrays
from pyrovae.data.contract import Contract
from pyrovae.data.prepared import as_dataset
from pyrovae.errors import DataError

NAMES = ["height", "mass", "age"]
X = np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)
FRAME = pd.DataFrame(X, columns=NAMES)
BACKWARDS = FRAME[NAMES[::-1]]
CONTRACT = Contract(columns=tuple(NAMES), optional=("x_known",))


def test_a_table_keeps_the_names_of_its_columns() -> None:
    assert all(split.columns == tuple(NAMES) for split in load_data(FRAME))
    for numbered in (pd.DataFrame(X), pd.DataFrame(X).assign(label=1)):
        assert load_data(numbered).train.columns == ()
    assert "mass</th>" in load_data(FRAME).train.preview()


def test_columns_in_another_order_are_the_same_data() -> None:
    here, moved = CONTRACT.apply(load_data(FRAME)), CONTRACT.apply(load_data(BACKWARDS))
    assert here.fingerprint() == moved.fingerprint()
    assert moved.train.x is moved.test.x
    one = CONTRACT.prepared(load_data(BACKWARDS).test)
    assert torch.equal(one.batch(torch.arange(3)).x, here.test.batch(torch.arange(3)).x)


def test_frames_given_to_a_model_are_matched_by_name() -> None:
    for frame in (FRAME, BACKWARDS, BACKWARDS.assign(label=1), pd.DataFrame(X)):
        assert torch.equal(as_dataset(frame, CONTRACT, (3,)).x, torch.from_numpy(X))
    unnamed = as_dataset(BACKWARDS, Contract(), (3,))  # a model that knows no names
    assert torch.equal(unnamed.x, torch.from_numpy(X[:, ::-1].copy()))


def test_a_mask_moves_with_its_columns() -> None:
    known = np.random.default_rng(1).random(X.shape) < 0.7
    data = from_arrays(X, variables={"x_known": known}, columns=NAMES)
    other = from_arrays(X[:, ::-1], variables={"x_known": known[:, ::-1]}, columns=NAMES[::-1])
    assert CONTRACT.apply(other).fingerprint() == CONTRACT.apply(data).fingerprint()


@pytest.mark.parametrize(
    ("frame", "sentence"),
    [
        (FRAME[["mass"]], r"lacks columns that the model was fitted to: add height, age$"),
        (FRAME.assign(dose=1.0), r"columns that the model was not fitted to: leave out dose$"),
        (FRAME.rename(columns={"age": "Age"}), "add age$"),
    ],
)
def test_other_columns_are_refused_by_name(frame: pd.DataFrame, sentence: str) -> None:
    with pytest.raises(DataError, match=f"the DataFrame .*{sentence}"):
        as_dataset(frame, CONTRACT, (3,))
    with pytest.raises(DataError, match=f"DataFrame .*{sentence}"):
        CONTRACT.apply(load_data(frame))


@pytest.mark.parametrize("name", ["label", "labels"])
def test_a_column_of_labels_is_the_classes(name: str) -> None:
    words = np.array(["b", "a", "c"] * 10)
    for classes in (words, np.arange(30) % 3, pd.Categorical(words)):
        data = load_data(FRAME.assign(**{name: classes}))
        expected = np.unique(np.asarray(classes), return_inverse=True)[1]
        assert data.train.columns == tuple(NAMES)
        assert data.train.labels is not None
        assert data.train.labels.tolist() == expected.tolist()


def test_truth_values_are_zero_and_one() -> None:
    bits = FRAME > 0
    assert torch.equal(load_data(bits).train.x, torch.from_numpy((X > 0).astype(np.uint8)))
    assert load_data(bits).train.levels == 1
    mixed = load_data(FRAME.assign(tall=FRAME["height"] > 0)).train
    assert torch.equal(mixed.x[:, 3], torch.from_numpy(X[:, 0] > 0).float())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"town": ["x"] * 30, "day": pd.Timestamp(0)}, "columns town, day do not hold numbers"),
        ({"label": X[:, 0]}, "column label is taken for classes and holds neither whole"),
        ({"label": ["a", None] * 15}, "column label is taken for classes"),
    ],
)
def test_what_is_no_number_is_refused_by_name(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DataError, match=f"DataFrame.*{sentence}"):
        load_data(FRAME.assign(**change))


def test_names_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match="several columns mass"):
        load_data(pd.concat([FRAME, FRAME[["mass"]]], axis=1))
    with pytest.raises(DataError, match="has 2 names of columns and observations of shape"):
        from_arrays(X, columns=NAMES[:2])


KNOWN = np.random.default_rng(1).random(X.shape) < 0.7
HOLED = FRAME.where(KNOWN)


def test_missing_values_are_those_that_are_not_known() -> None:
    data, same = load_data(HOLED), from_arrays(X, variables={"x_known": KNOWN}, columns=NAMES)
    assert CONTRACT.apply(data).fingerprint() == CONTRACT.apply(same).fingerprint()
    assert sum(split.unknown for split in data) == (~KNOWN).sum()
    assert f"; {(~KNOWN).sum()} of 90 values not known" in data.description
    assert load_data(FRAME).train.unknown == 0
    assert "x_known" not in load_data(FRAME).train.variables
    rows = from_arrays(X, variables={"x_known": KNOWN[:, 0]})
    assert sum(split.unknown for split in rows) == 3 * (~KNOWN[:, 0]).sum()


def test_missing_values_are_matched_by_name_as_well() -> None:
    given = as_dataset(HOLED[NAMES[::-1]], CONTRACT, (3,)).batch(torch.arange(30))
    assert torch.equal(given.others["x_known"], torch.from_numpy(KNOWN))
    assert torch.equal(given.x, torch.from_numpy(np.where(KNOWN, X, 0)))


@pytest.mark.parametrize(
    ("values", "levels"),
    [(X > 0, 1), (np.arange(90).reshape(30, 3), 89), (np.arange(90).reshape(30, 3) / 2, None)],
)
def test_missing_values_do_not_change_the_type_of_others(values: Any, levels: Any) -> None:
    whole = pd.DataFrame(values, columns=NAMES)
    holed = whole.astype(object).where(KNOWN) if values.dtype == bool else whole.where(KNOWN)
    if levels == 89:
        assert KNOWN[-1, -1]  # the largest
    data = load_data(holed)
    assert data.train.levels == load_data(whole).train.levels == levels
    expected = np.where(KNOWN, values, 0).astype(np.float32)
    assert torch.equal(data.train.x.float(), torch.from_numpy(expected))
    nullable = load_data(holed.convert_dtypes())
    assert nullable.fingerprint() == data.fingerprint()


def test_infinite_values_are_refused_by_name() -> None:
    with pytest.raises(DataError, match="DataFrame: columns mass hold infinite values"):
        load_data(HOLED.assign(mass=np.inf))


def test_programs_that_take_no_mask_refuse_values_that_are_not_known() -> None:
    bare = Contract(columns=tuple(NAMES))
    with pytest.raises(DataError, match=r"has \d+ values that are not known, .* take x_known"):
        bare.apply(load_data(HOLED))
    all_known = from_arrays(X, variables={"x_known": np.ones_like(KNOWN)})
    assert bare.apply(all_known).train.unknown == 0


def test_arrays_with_nan_are_answered_with_what_takes_them() -> None:
    with pytest.raises(DataError, match=r"NaN or infinite .* DataFrame or \.csv .* x_known"):
        load_data(np.where(KNOWN, X, np.nan))
