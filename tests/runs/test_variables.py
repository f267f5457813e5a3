"""Runs of programs that take several variables and arguments."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

import pyrovae.compare
import pyrovae.diagnose
import pyrovae.evaluate
import pyrovae.explore
from pyrovae.runs.loading import load_run

SMALL = ("program.pixels=64", "program.width=16", "program.latent_dim=2", "inference.epochs=2")


@pytest.fixture
def digits(here: Path) -> Path:
    """Bits of digits, with the labels of a third of them."""
    digits = load_digits()
    images, classes = (digits.images[:600] > 7).astype(np.uint8), digits.target[:600]
    known = np.random.default_rng(0).random(600) < 0.3
    np.savez(
        here / "digits.npz",
        x=images,
        labels=classes,
        y=np.where(known, classes, 0),
        y_known=known,
    )
    return Path("digits.npz")


@pytest.fixture
def trained(command: Any, digits: Path) -> Callable[..., Any]:
    def train(*settings: str, output: str = "m2", **options: Any) -> Any:
        words = [word for key in (*SMALL, *settings) for word in ("--set", key)]
        return command("m2", "enumerated", "--data", digits, "--output", output, *words)

    return train


@pytest.mark.usefixtures("without_figures", "fewer", "plain")
def test_every_command_takes_a_program_with_labels_for_some_rows(
    trained: Any, command_of: Callable[..., Any], here: Path
) -> None:
    for output, settings in (("m2", ()), ("weighted", ("program.label_weight=5",))):
        outcome = trained(*settings, output=output)
        assert outcome.status == 0, outcome.err
    for main, arguments in (
        (pyrovae.evaluate.main, ["m2", "--samples", "20"]),
        (pyrovae.explore.main, ["m2", "samples"]),
        (pyrovae.compare.main, ["m2", "weighted", "--samples", "20", "--output", "both"]),
        (pyrovae.diagnose.main, ["m2", "--num", "50", "--draws", "100"]),
    ):
        outcome = command_of(main)(*arguments)
        assert outcome.status == 0, outcome.err
    numbers = json.loads((here / "m2" / "diagnosis" / "numbers.json").read_text())
    classes = numbers["checks"]["classes"]
    assert "entropy of y" in json.dumps(classes)
    assert (here / "m2" / "diagnosis" / "figures" / "classes.png").is_file()


@pytest.mark.usefixtures("without_figures")
def test_models_of_different_variables_are_compared_on_the_same_data(
    command: Any, command_of: Callable[..., Any], digits: Path
) -> None:
    for model in ("cvae", "bernoulli"):
        words = ("--output", model, "--set", "inference.epochs=1")
        outcome = command(model, "svi", "--data", digits, *words)
        assert outcome.status == 0, outcome.err
    words = ("cvae", "bernoulli", "--samples", "20", "--output", "both")
    compared = command_of(pyrovae.compare.main)(*words)
    assert compared.status == 0, compared.err
    explored = command_of(pyrovae.explore.main)("cvae", "traversals", "interpolations")
    assert explored.status == 0, explored.err


@pytest.mark.usefixtures("without_figures")
def test_models_that_see_different_labels_beside_the_same_x_are_not_compared(
    command: Any, command_of: Callable[..., Any], here: Path, digits: Path
) -> None:
    arrays = dict(np.load(digits))
    np.savez(here / "other.npz", **{**arrays, "y": (arrays["y"] + 1) % 10})
    for output, data in (("first", digits), ("second", "other.npz")):
        words = ("--output", output, "--set", "inference.epochs=1")
        assert command("cvae", "svi", "--data", data, *words).status == 0
    compared = command_of(pyrovae.compare.main)("first", "second", "--output", "both")
    assert compared.status == 2
    assert "different values of y beside the same x" in compared.err


@pytest.mark.usefixtures("without_figures")
def test_a_run_keeps_the_arguments_of_its_program(trained: Any, command: Any, here: Path) -> None:
    assert trained().status == 0
    run = load_run("m2")
    assert run.autoencoder.traces(run.first(3).batch).model.nodes["z"]["value"].shape[-1] == 2
    loaded = pyrovae.load("m2")
    assert loaded.sample(3).shape == (3, 1, 8, 8)
    assert loaded.reconstruct(**run.first(2).batch.variables).shape == (2, 1, 8, 8)
    resumed = command("--resume", "m2")
    assert resumed.status == 0, resumed.err
    other = command("--resume", "m2", "--set", "program.latent_dim=3")
    assert other.status == 2
    assert "program.toml: latent_dim was 2 and is 3" in other.err


@pytest.mark.usefixtures("without_figures")
def test_what_stands_for_an_unknown_label_changes_no_bit_of_a_run(
    trained: Any, here: Path, digits: Path
) -> None:
    assert trained(output="first").status == 0
    arrays = dict(np.load(digits))
    arrays["y"] = np.where(arrays["y_known"], arrays["y"], 7)
    np.savez(here / digits, **arrays)
    assert trained(output="second").status == 0
    states = [load_run(name).autoencoder.state_dict() for name in ("first", "second")]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_program_that_asks_for_what_the_data_lack_is_refused(command: Any, here: Path) -> None:
    outcome = command("m2", "enumerated", "--data", "digits", "--set", "program.pixels=64")
    assert outcome.status == 2
    assert "model(x, y, y_known) takes y_known, and digits has x, y" in outcome.err


def test_a_label_outside_its_classes_is_named(trained: Any, here: Path, digits: Path) -> None:
    arrays = dict(np.load(digits))
    arrays["y"][arrays["y_known"]] = 12
    np.savez(here / digits, **arrays)
    outcome = trained()
    assert outcome.status == 2
    assert "m2.py" in outcome.err
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (
            ["m2", "--set", "program.depth=3"],
            "--set program.depth: M2 in .* takes classes,",
        ),
        (["m2", "--set", "model.latent_dim=3"], "--set model.latent_dim: .* --set program.latent"),
        (["vae", "--set", "program.width=3"], "--set program.width: .* has keys of its own"),
        (["handwritten", "--set", "program.width=3"], "defines functions, which take no"),
    ],
)
def test_arguments_that_cannot_be_set_are_named(
    command: Any, digits: Path, words: list[str], complaint: str
) -> None:
    outcome = command(*words, "--data", digits)
    assert outcome.status == 2
    assert re.search(complaint, " ".join(outcome.err.split()))
