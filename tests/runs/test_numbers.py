"""Numbers that are wrong, or that nothing is known of, are said to be so."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import pytest
import torch

from pyrovae import InferenceSpec, build, fit, load_data
from pyrovae.errors import CheckpointError, DataError
from pyrovae.evaluation.latent_means import active_dimensions
from pyrovae.runs.loading import load_run

pytestmark = pytest.mark.usefixtures("without_figures")
DRAW = '        pyro.sample("z", dist.Normal(loc'


@pytest.fixture
def later(write_program: Any) -> Callable[[str], Path]:
    """A program that does something else in its guide, from the twelfth call on."""

    def write(line: str) -> Path:
        counted = f"        calls.append(0)\n        {line}\n{DRAW}"
        begin = "encoder = nn.Linear"
        return write_program((begin, f"calls = []\n{begin}"), (DRAW, counted))

    return write


def test_an_epoch_that_is_repeated_is_said_to_be(train: Any, later: Any, caplog: Any) -> None:
    train(later("loc = loc / (len(calls) != 12)"))
    assert "is not finite, and is repeated" in caplog.text


@pytest.mark.parametrize("sign", ["-", "+"])
def test_a_negative_scale_is_named(
    command: Any, counts: Path, overrides: Any, later: Any, sign: str
) -> None:
    program = later(f"scale = {sign}scale if len(calls) > 12 else scale")
    words = overrides(declared=False)
    outcome = command(program, "--data", counts, "--output", "run", *words)
    assert outcome.status == 0, outcome.err
    assert ("scale of Normal a value that it cannot have" in outcome.out) == (sign == "-")


def test_one_observation_has_no_standard_error(command: Any, here: Path, overrides: Any) -> None:
    np.save(here / "ten.npy", np.random.default_rng(0).normal(size=(10, 4)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        outcome = command("--data", "ten.npy", "--output", "run", *overrides())
    assert outcome.status == 0, outcome.err
    assert "(a single one, so without a standard error)" in outcome.out
    assert "0.00 nats per observation" not in outcome.out
    assert active_dimensions(torch.ones(1, 3)) == 0


@pytest.mark.parametrize("value", [1e19, -1e30])
def test_a_value_whose_square_is_no_number_is_named(value: float) -> None:
    x = np.random.default_rng(0).normal(size=(30, 4))
    load_data(np.where(x > 1, 1e18, x))
    x[7, 2] = value
    with pytest.raises(DataError, match=r"e\+\d\d in observation 7 at \(2,\), whose square"):
        load_data(x)


def test_a_run_that_diverged_at_once_is_not_gone_on_with(
    command: Any, counts: Path, overrides: Any
) -> None:
    words = overrides("inference.optimiser.learning_rate=1e30")
    assert command("--data", counts, "--output", "run", *words).status == 2
    with pytest.raises(CheckpointError, match=r"diverged in the first epoch.*learning_rate"):
        load_run("run")


def test_a_fit_leaves_nothing_in_the_parameter_store(few: Any) -> None:
    pyro.clear_param_store()
    mine = pyro.param("mine", torch.ones(2))
    for _ in range(2):
        vae = build("vae", "svi", few, {"model.decoder.widths": [4]})
        fit(vae, few, InferenceSpec(epochs=1))
        assert set(pyro.get_param_store().keys()) == {"mine"}
    assert pyro.param("mine") is mine
    pyro.clear_param_store()
