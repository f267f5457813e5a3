"""Building from Python: settings, data in memory, and mistakes in one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from pyrovae import InferenceSpec, ModelSpec, Splits, build, fit, load_data
from pyrovae.errors import DataError, SpecError
from pyrovae.runs.request import RunSpec

SETTINGS = {"model.latent_dim": 2, "model.prior.kind": "mixture", "inference.epochs": 3}
BRIEF = InferenceSpec(epochs=1)


@pytest.mark.parametrize("named", [True, False])
def test_settings_are_those_of_the_command_line(named: bool) -> None:
    commanded = RunSpec.read(model="laplace", inference="beta", overrides=SETTINGS)
    plain = RunSpec.read(model="laplace", inference="beta")
    model, inference = ("laplace", "beta") if named else (plain.model, plain.inference)
    vae: Any = build(model, inference, settings=SETTINGS)
    asked: Any = commanded.model
    assert vae.declaration.model.prior == asked.prior
    assert vae.declaration.model.latent_dim == 2
    assert vae.declaration.inference.epochs == commanded.inference.epochs == 3


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"model.latent_dims": 2}, "no key 'latent_dims'; did you mean 'latent_dim'"),
        ({"latent_dim": 2}, "^latent_dim=2: the key starts with 'model.'"),
        ({"model.prior.kind": "vapm"}, "did you mean 'vamp'"),
        ({"inference.epochs": 0}, "must be greater than 0"),
        ({"program.width": 2}, "keys of its own, model.KEY"),
    ],
)
def test_wrong_settings_are_a_sentence(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SpecError, match=sentence) as error:
        build("vae", "svi", settings=settings)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("spec", "values", "sentence"),
    [
        (InferenceSpec, {"epoch": 3}, "InferenceSpec: there is no key 'epoch'; did you mean"),
        (InferenceSpec, {"optimiser": {"kind": "sgd"}}, "choose one of: adam, adamw, adamax"),
        (ModelSpec, {"latent_dim": "8"}, "ModelSpec: latent_dim = '8': must be"),
    ],
)
def test_wrong_specifications_are_a_sentence(
    spec: Any, values: dict[str, Any], sentence: str
) -> None:
    for make in (lambda: spec(**values), lambda: spec.model_validate(values)):
        with pytest.raises(SpecError, match=sentence) as error:
            make()
        assert "pydantic" not in str(error.value)


def test_data_in_memory_are_taken_everywhere() -> None:
    x = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    frame = pd.DataFrame(x, columns=list("abc"))
    splits = [load_data(source) for source in (x, torch.from_numpy(x), frame)]
    assert all(torch.equal(found.train.x, splits[0].train.x) for found in splits)
    assert load_data(splits[0]) is splits[0]
    normal = {"model.likelihood.kind": "normal"}
    assert len(fit(build("vae", "svi", x, normal), x, BRIEF)) == 2


@pytest.mark.parametrize("source", [object(), pd.DataFrame({"a": ["x"]})])
def test_what_is_no_data_is_refused(source: Any) -> None:
    with pytest.raises(DataError, match=r"cannot be taken: give an array|columns a do not"):
        load_data(source)


def test_a_function_is_no_callback(few_digits: Splits) -> None:
    with pytest.raises(SpecError, match=r"is no callback: .*Callback, with on_step"):
        fit(build("vae", "svi", few_digits), few_digits, BRIEF, [print])  # type: ignore[list-item]


def test_a_program_is_fitted_as_it_was_built(few_digits: Splits) -> None:
    program = build("handwritten", "svi", few_digits, {"inference.epochs": 2})
    assert [record.epoch for record in fit(program, few_digits)] == [1, 1, 2, 2]
    with pytest.raises(SpecError, match=r"handwritten\.py is a program; arguments"):
        build(Path("models/handwritten.py"), settings={"model.latent_dim": 3})
