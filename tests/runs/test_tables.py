"""Runs on tables: names of columns in results, whatever the order of columns in other data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pyrovae import encode, evaluate, load_data, open_run, reconstruct, sample

pytestmark = pytest.mark.usefixtures("without_figures")

NAMES = ["height", "mass", "index"]  # the last is also the name of a column of results
FRAME = pd.DataFrame(np.random.default_rng(0).normal(size=(40, 3)), columns=NAMES)
BACKWARDS = FRAME[NAMES[::-1]]
NORMAL = "model.likelihood.kind=normal"


@pytest.fixture
def table(here: Path) -> Path:
    FRAME.to_csv(here / "table.csv", index=False)
    BACKWARDS.to_csv(here / "backwards.csv")
    return Path("table.csv")


@pytest.fixture
def run(command: Any, table: Path, overrides: Any, once: Any) -> Path:
    def fit() -> Path:
        outcome = command("--data", table, "--output", "run", *overrides(NORMAL))
        assert outcome.status == 0, outcome.err
        return Path("run")

    return once("table", fit)


def test_results_have_the_names_of_the_table(run: Path, command_of: Any) -> None:
    words = ["--num", "12", "--output", "new.csv"]
    assert command_of(sample.main)(run, *words).status == 0
    assert command_of(reconstruct.main)(run, "--output", "means.csv").status == 0
    assert list(pd.read_csv("new.csv").columns) == NAMES
    assert list(pd.read_csv("means.csv").columns) == ["row", *NAMES]
    assert load_data("new.csv").train.columns == tuple(NAMES)  # draws are data again
    assert command_of(evaluate.main)(run, "--data", "new.csv").status == 0


def test_reconstructions_of_a_table_are_data_again(
    here: Path, command: Any, command_of: Any, overrides: Any
) -> None:
    FRAME.rename(columns={"index": "age"}).assign(label=range(40)).to_csv("t.csv", index=False)
    assert command("--data", "t.csv", "--output", "run", *overrides(NORMAL)).status == 0
    means = ["--split", "all", "--output", "means.csv"]
    assert command_of(reconstruct.main)("run", *means).status == 0
    again = load_data("means.csv").train
    assert again.columns == ("height", "mass", "age")
    assert again.labels is not None
    outcome = command_of(encode.main)("run", "--data", "means.csv")
    assert outcome.status == 0, outcome.err


def test_other_data_are_matched_by_name(run: Path, command_of: Any) -> None:
    for data in ("table", "backwards"):
        words = ["--data", f"{data}.csv", "--output", f"{data}-z.csv"]
        assert command_of(encode.main)(run, *words).status == 0
    pd.testing.assert_frame_equal(pd.read_csv("table-z.csv"), pd.read_csv("backwards-z.csv"))


def test_other_columns_are_refused_in_a_sentence(
    run: Path, here: Path, command_of: Any, refused_by: Any
) -> None:
    FRAME.drop(columns="mass").to_csv(here / "less.csv", index=False)
    words = ("less.csv lacks columns", "add mass")
    refused_by(command_of(encode.main))(run, "--data", "less.csv", words=words)


def test_frames_come_back_as_frames(run: Path) -> None:
    opened = open_run(run)
    given = BACKWARDS.set_axis([f"row {i}" for i in range(len(BACKWARDS))])
    for found in (opened.embed(given), opened.reconstruct(given)):
        assert list(found.index) == list(given.index)
    assert list(opened.reconstruct(given).columns) == NAMES
    values = FRAME.to_numpy()
    np.testing.assert_array_equal(opened.reconstruct(given), opened.reconstruct(values))
    np.testing.assert_array_equal(opened.embed(given), opened.embed(values))


KNOWN = np.random.default_rng(1).random(FRAME.shape) < 0.7
HOLED = FRAME.where(KNOWN)


def test_a_table_with_holes_is_trained_on_and_filled_in(
    here: Path, command: Any, command_of: Any, overrides: Any
) -> None:
    HOLED.to_csv("holed.csv", index=False)
    np.savez("masked.npz", x=FRAME.to_numpy(), x_known=KNOWN)
    losses = []
    for data, folder in (("holed.csv", "holed"), ("masked.npz", "masked")):
        outcome = command("--data", data, "--output", folder, *overrides(NORMAL))
        assert outcome.status == 0, outcome.err
        assert f"{(~KNOWN).sum()} of 120 values not known" in outcome.out
        losses.append(list(open_run(folder).history["elbo"]))
    assert losses[0] == losses[1]
    opened = open_run("holed")
    filled = opened.reconstruct(HOLED)
    assert not filled.isna().any(axis=None)
    other = FRAME.where(KNOWN, 1e3).where(KNOWN)  # what stood there has no effect
    pd.testing.assert_frame_equal(filled, opened.reconstruct(other))
    assert (opened.embed(FRAME) != opened.embed(HOLED)).any(axis=None)
    assert command_of(encode.main)("holed", "--split", "all", "--output", "z.csv").status == 0
    found = pd.read_csv("z.csv").filter(regex=r"^z").to_numpy()
    np.testing.assert_allclose(opened.embed(HOLED), found, rtol=1e-4, atol=1e-5)
