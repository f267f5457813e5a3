"""Autoencoders of tables: columns are matched by name, also after saving and loading."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors import safe_open
from safetensors.torch import save_file

from pyrovae import VAE, build, load, save
from pyrovae.errors import DataError

NAMES = ["height", "mass", "age"]
FRAME = pd.DataFrame(np.random.default_rng(0).normal(size=(40, 3)), columns=NAMES)
BACKWARDS = FRAME[NAMES[::-1]]


@pytest.fixture(scope="module")
def vae() -> VAE:
    return build("vae", "svi", FRAME, {"model.likelihood.kind": "normal"})


@pytest.fixture
def file(vae: VAE, tmp_path: Path) -> Path:
    save(vae, tmp_path / "vae.safetensors")
    return tmp_path / "vae.safetensors"


def test_columns_may_come_in_any_order(vae: VAE, file: Path) -> None:
    expected = vae.embed(FRAME.to_numpy())
    for model in (vae, load(file)):
        for frame in (FRAME, BACKWARDS):
            np.testing.assert_array_equal(model.embed(frame), expected)
        with pytest.raises(DataError, match="add height, age"):
            model.embed(FRAME[["mass"]])


def test_files_without_names_take_columns_as_they_come(file: Path) -> None:
    with safe_open(file, "pt") as opened:
        tree = json.loads(opened.metadata()["declaration"])
        weights = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    assert tree.pop("columns") == NAMES
    save_file(weights, file, {"declaration": json.dumps(tree)})
    older = load(file)
    np.testing.assert_array_equal(older.embed(BACKWARDS), older.embed(BACKWARDS.to_numpy()))


def test_programs_by_hand_match_columns_as_well(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    program = build(tmp_path / "program.py", "svi", FRAME)
    found = program.embed(BACKWARDS)
    np.testing.assert_array_equal(found, FRAME[["height"]].to_numpy(np.float32))


PROGRAM = """\
import pyro
import pyro.distributions as dist
from pyro.distributions import constraints


def model(x):
    scale = pyro.param("scale", x.new_ones(()), constraint=constraints.positive)
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(1), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(z, scale).expand([len(x), 3]).to_event(1), obs=x)


def guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(x[:, :1], 1.0).to_event(1))
"""
