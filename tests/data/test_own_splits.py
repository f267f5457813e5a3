"""Splits of one's own: what each kind promises, and what is refused."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from pyrovae import Splits, load_data
from pyrovae.data.splitting import balanced_rows, fraction_rows, permuted_rows
from pyrovae.errors import DataError, SpecError
from pyrovae.specs.split import Split, parse_split

RNG = np.random.default_rng(0)
N = 200
FRAME = pd.DataFrame(RNG.normal(size=(N, 3)), columns=list("abc"))
PATIENT = np.array([f"p{i}" for i in RNG.integers(0, 25, N)])
SHARES = (0.6, 0.15, 0.25)


def is_partition(rows: Any, n: int) -> bool:
    return torch.equal(torch.cat([*rows]).sort().values, torch.arange(n))


def rows_of(data: Splits) -> list[list[int]]:
    return [split.rows.tolist() for split in data]


def test_the_usual_fractions_give_the_usual_split() -> None:
    for n in (10, 11, 99, 1797):
        usual = permuted_rows(n)
        for same in (fraction_rows(n, (0.8, 0.1, 0.1)), load_rows(n)):
            assert all(torch.equal(a, b) for a, b in zip(usual, same, strict=True)), n


def load_rows(n: int) -> list[torch.Tensor]:
    return [
        split.rows for split in load_data(np.arange(2.0 * n).reshape(n, 2), split=(0.8, 0.1, 0.1))
    ]


def test_fractions_are_kept() -> None:
    data = load_data(FRAME, split=SHARES)
    assert [len(split) for split in data] == [120, 30, 50]
    assert is_partition([split.rows for split in data], N)
    assert [len(split) for split in load_data("digits", split=SHARES)] == [1077, 270, 450]


def test_no_group_is_on_two_sides() -> None:
    data = load_data(FRAME.assign(patient=PATIENT), split={"group": "patient"})
    assert data.train.columns == ("a", "b", "c")
    sides = [{*PATIENT[rows]} for rows in rows_of(data)]
    assert sum(map(len, sides)) == len(set.union(*sides)) == 25
    assert is_partition([split.rows for split in data], N)
    again = load_data(FRAME, split={"group": PATIENT})
    assert rows_of(data) == rows_of(again)


def test_every_class_is_within_one_row_of_its_share() -> None:
    classes = np.repeat([0, 1, 2, 3], [130, 53, 10, 7])
    parts = balanced_rows(N, SHARES, None, classes)
    assert is_partition(parts, N)
    for part, share in zip(parts, SHARES, strict=True):
        found = np.bincount(classes[part.numpy()], minlength=4)
        assert (abs(found - share * np.bincount(classes)) < 1).all()
    rare = load_data(FRAME.assign(label=classes), split={"stratify": "label", "fractions": SHARES})
    assert rows_of(rare) == [part.tolist() for part in parts]
    assert rare.test.labels is not None


def test_groups_with_classes_keep_both_nearly() -> None:
    group = RNG.integers(0, 60, 3000)
    classes = (group % 3 == 0).astype(int)
    parts = balanced_rows(3000, SHARES, group, classes)
    sides = [{*group[part.numpy()]} for part in parts]
    assert sum(map(len, sides)) == 60
    for part, share in zip(parts, SHARES, strict=True):
        found = np.bincount(classes[part.numpy()]) / np.bincount(classes)
        assert abs(found - share).max() < 0.06  # a group is 1/40 or 1/20 of its class


def test_the_largest_group_is_for_training() -> None:
    group = np.repeat(np.arange(11), [100, *[10] * 10])
    parts = balanced_rows(N, (0.8, 0.1, 0.1), group, None)
    assert [len(part) for part in parts] == [160, 20, 20]
    assert 0 in group[parts.train.numpy()]


def test_a_column_names_the_parts() -> None:
    words = np.array(["train", "val", "test", "training", "validation"])[np.arange(N) % 5]
    data = load_data(FRAME.assign(fold=words), split={"column": "fold"})
    assert rows_of(data)[2] == list(range(2, N, 5))
    assert rows_of(data)[1] == sorted([*range(1, N, 5), *range(4, N, 5)])
    assert data.train.columns == ("a", "b", "c")


def test_rows_are_those_of_a_file_or_of_arrays(tmp_path: Path) -> None:
    rows = {"train": np.arange(9, 60), "validation": np.array([4, 1]), "test": np.array([0])}
    np.savez(tmp_path / "rows.npz", **rows)
    expected = [part.tolist() for part in rows.values()]
    for given in (rows, tmp_path / "rows.npz", str(tmp_path / "rows.npz")):
        assert rows_of(load_data(FRAME, split={"rows": given})) == expected


def test_three_sources_are_the_three_parts(tmp_path: Path) -> None:
    parts = [FRAME[:100], FRAME[100:103][["c", "a", "b"]], FRAME[103:]]
    files = [tmp_path / f"{i}.csv" for i in range(3)]
    for part, file in zip(parts, files, strict=True):
        part.assign(label="uvw"[len(part) % 3]).to_csv(file, index=False)
    for first, second, third in (parts, files):
        data = load_data(first, split={"validation": second, "test": third})
        assert [len(split) for split in data] == [100, 3, 97]
        seen = data.validation.batch(torch.arange(3)).x
        torch.testing.assert_close(
            seen, torch.tensor(parts[1][["a", "b", "c"]].to_numpy()).float()
        )
    label = data.test.label(torch.arange(2))
    assert label is not None
    assert label.tolist() == [1, 1]  # "v", after "u", which is only in the validation data
    x, y = RNG.integers(0, 9, (30, 4)), np.arange(30)
    for i, part in enumerate((slice(0, 20), slice(20, 25), slice(25, 30))):
        np.savez(tmp_path / f"{i}.npz", x=x[part], labels=y[part], age=1.5 * y[part])
    others = {"validation": tmp_path / "1.npz", "test": tmp_path / "2.npz"}
    data = load_data(tmp_path / "0.npz", split=others)
    assert data.test.batch(torch.arange(5)).x.tolist() == x[25:].tolist()
    assert data.test.variables["age"][data.test.rows].tolist() == (1.5 * y[25:]).tolist()


def test_held_out_data_that_are_training_data_are_named(caplog: Any) -> None:
    x = np.arange(300.0).reshape(100, 3)
    load_data(x)
    assert not caplog.records
    copies = np.concatenate([x[:50], x[:50]])
    parts = {"train": np.arange(50), "validation": np.arange(50, 60), "test": np.arange(60, 100)}
    with caplog.at_level(logging.WARNING, "pyrovae"):
        load_data(copies, split={"rows": parts})
    assert ["100 % of the validation" in r.getMessage() for r in caplog.records] == [True, False]
    caplog.clear()
    copies[80:] += 0.5
    load_data(copies, split={"rows": parts})
    assert "50 % of the test data" in caplog.records[1].getMessage()


def test_mistakes_are_one_sentence(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", RNG.normal(size=(20, 4)))
    fold = np.array(["train"] * N)
    holes = pd.Series(PATIENT).where(np.arange(N) != 7)
    some = {"train": [1, 2], "validation": [3], "test": [4]}
    mistakes: dict[str, Any] = {
        "give three positive numbers with sum 1": (0.5, 0.5),
        "fractions = (0.7, 0.2, 0.2)": (0.7, 0.2, 0.2),
        "fractions = 'half'": {"fractions": "half"},
        "no key 'groups'; did you mean 'group'": {"groups": "a"},
        "give three fractions, such as": 0.3,
        "column and split.group are two ways": {"column": "a", "group": "b"},
        "test is given alone": {"test": "x.npy"},
        "DataFrame has no column 'patent'; did you mean 'patient'": {"group": "patent"},
        "has shape (5,)": {"group": np.arange(5)},
        "the value of row 7 of DataFrame is missing": {"group": holes},
        "leaves no validation data": {"column": fold},
        "holds 'tset': give train": {"column": np.where(np.arange(N) == 3, "tset", fold)},
        "holds train: give arrays": {"rows": {"train": [1]}},
        "row 4 is named 2 times": {"rows": some | {"train": [4]}},
        "test has row 200, and DataFrame has rows 0 to 199": {"rows": some | {"test": [200]}},
        "test has shape (1,) and type float64": {"rows": some | {"test": [0.5]}},
        "a, d is in one": {"validation": FRAME, "test": FRAME.rename(columns={"a": "d"})},
        "are not of one kind": {"validation": tmp_path / "x.npy", "test": FRAME},
    }
    for said, split in mistakes.items():
        frame = FRAME.assign(patient=PATIENT) if "patent" in said else FRAME
        with pytest.raises((SpecError, DataError)) as told:
            load_data(frame, split=split)
        assert said in str(told.value), (said, str(told.value))
    with pytest.raises(DataError, match=r"give a table or an \.npz file"):
        load_data(tmp_path / "x.npy", split={"group": "patient"})
    with pytest.raises(DataError, match="split already"):
        load_data(load_data(FRAME), split=SHARES)


def test_the_command_line_says_it_by_key() -> None:
    assert parse_split(["group=7", "fractions=[0.6, 0.2, 0.2]"]).group == "7"
    for split in (parse_split(["fractions=0.6,0.2,0.2"]), parse_split(["rows=a.npz"])):
        assert Split.of(split.recorded()).recorded() == split.recorded()
    assert Path(parse_split(["rows=a.npz"]).recorded()["rows"]).is_absolute()
    with pytest.raises(SpecError, match=r"--split 0.8: expected KEY=VALUE"):
        parse_split(["0.8"])
