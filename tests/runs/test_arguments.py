"""Mistaken arguments in Python: a sentence before anything expensive begins, never a traceback."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import pyrovae
from pyrovae import InferenceSpec, Splits, figures
from pyrovae.diagnosis import diagnose
from pyrovae.errors import PyrovaeError

ONE = InferenceSpec(epochs=1)
PYTHON = {
    "fit(data, vae)": (
        lambda p: pyrovae.fit(p.data, p.vae),
        r"^fit\(vae, data\): the first argument is of type Splits",
    ),
    "an inference that is a number": (
        lambda p: pyrovae.fit(p.vae, p.data, 3),
        r"fit\(vae, data, 3\): .*InferenceSpec\(epochs=3\)",
    ),
    "an inference that is a dictionary": (
        lambda p: pyrovae.fit(p.vae, p.data, {"epochs": 3}),
        r"InferenceSpec\(epochs=3\)",
    ),
    "epochs": (lambda p: pyrovae.fit(p.vae, p.data, epochs=3), r"'inference.epochs': 3"),
    "lr": (lambda p: pyrovae.fit(p.vae, p.data, lr=0.1), "inference.optimiser.learning_rate"),
    "a device": (lambda p: pyrovae.fit(p.vae, p.data, device="cuda"), r"vae.to\(.cuda.\)"),
    "verbose": (lambda p: pyrovae.fit(p.vae, p.data, verbose=1), "progress=False"),
    "a misspelt option": (
        lambda p: pyrovae.fit(p.vae, p.data, callback=[]),
        "did you mean 'callbacks'",
    ),
    "no objective": (
        lambda p: pyrovae.fit(p.vae, p.data, objective="elbo"),
        "'elbo' is not an objective",
    ),
    "data of another shape": (
        lambda p: pyrovae.fit(p.vae, np.zeros((30, 5)), ONE),
        r"shape \(5,\), and the model was built for \(1, 8, 8\)",
    ),
    "a key as an argument": (
        lambda p: pyrovae.build("vae", "svi", p.data, latent_dim=2),
        r"there is no part 'latent_dim'; .*\{'model.latent_dim': 2\}",
    ),
    "a key without its section": (
        lambda p: pyrovae.build("vae", "svi", p.data, {"latent_dim": 2}),
        "^latent_dim=2: .*as in model.latent_dim",
    ),
    "a misspelt key": (
        lambda p: pyrovae.build("vae", "svi", p.data, {"model.latent_dm": 2}),
        "^model.latent_dm: .*did you mean 'latent_dim'",
    ),
    "settings in a list": (
        lambda p: pyrovae.build("vae", "svi", p.data, [2]),
        "settings of type list",
    ),
    "another word for a kind": (
        lambda p: pyrovae.build("vae", "svi", p.data, {"model.likelihood.kind": "gaussian"}),
        "no likelihood of kind 'gaussian'; did you mean 'normal'",
    ),
    "a key of a table below": (
        lambda p: pyrovae.build("vae", "svi", p.data, {"inference.learning_rate": 0.1}),
        "no key 'learning_rate'; it is optimiser.learning_rate",
    ),
    "a key that several tables have": (
        lambda p: pyrovae.build("vae", "svi", p.data, {"inference.kind": "diagonal"}),
        "no key 'kind'; choose one of",
    ),
    "a pair of data and labels": (
        lambda p: pyrovae.load_data((np.zeros((20, 5)), np.zeros(20))),
        "a tuple is given: .*labels=",
    ),
    "labels of a named set": (
        lambda p: pyrovae.load_data("digits", np.zeros(1797, int)),
        "give labels= with an array",
    ),
    "a list of words": (lambda p: pyrovae.load_data(["a", "b"]), "not one array of numbers"),
    "a file that is not there": (
        lambda p: pyrovae.load_data("x.npz"),
        "no file or folder 'x.npz'",
    ),
    "a folder that is not there": (lambda p: pyrovae.load_data("a/b"), "no file or folder 'a/b'"),
    "a name that is none": (lambda p: pyrovae.load_data("digts"), "did you mean 'digits'"),
    "save(path, vae)": (lambda p: pyrovae.save("x", p.vae), r"^save\(vae, path\): .*type str"),
    "log_evidence(data, vae)": (
        lambda p: pyrovae.log_evidence(p.data, p.vae),
        r"^log_evidence\(vae, data\): .*type Splits",
    ),
    "log_evidence of a number": (lambda p: pyrovae.log_evidence(p.vae, 3), "data of type int"),
    "a number of samples": (
        lambda p: pyrovae.log_evidence(p.vae, p.data, "many"),
        "the number of samples is 'many'",
    ),
    "diagnose(data, vae)": (lambda p: diagnose(p.data, p.vae), r"^diagnose\(vae, data\): "),
    "fewer than no data": (lambda p: diagnose(p.vae, p.data, num=-1), "observations is -1"),
    "a history": (lambda p: diagnose(p.vae, p.data, history={}), "history is of type dict"),
    "curves of a model": (lambda p: figures.curves(p.vae), r"^figures.curves\(history\): "),
    "check(name, diagnosis)": (
        lambda p: figures.check("calibration", p.vae),
        r"^figures.check\(diagnosis, question\): ",
    ),
    "a size": (lambda p: figures.samples(p.vae, p.data, size=5), r"^size = 5: .*size=\(6, 4\)"),
    "a figure of data": (lambda p: figures.latents(p.data, p.vae), r"^figures take \(vae, data"),
}


@pytest.fixture
def given(few_digits: Splits) -> Any:
    vae: Any = pyrovae.build("vae", "svi", few_digits)
    return SimpleNamespace(vae=vae, data=few_digits)


@pytest.mark.parametrize("mistake", PYTHON)
def test_a_mistake_is_one_sentence(
    given: Any, mistake: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    call, words = PYTHON[mistake]
    with pytest.raises(PyrovaeError, match=words) as caught:
        call(given)
    assert "--set" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "here").iterdir())


def test_any_form_of_the_data_has_the_same_evidence(given: Any) -> None:
    seen = given.vae.contract.apply(given.data).test
    x = seen.batch(torch.arange(len(seen))).x
    expected = pyrovae.log_evidence(given.vae, given.data.test, 10).log_prob
    for form in (given.data, x, x.numpy(), pd.DataFrame(x.flatten(1).numpy())):
        found = pyrovae.log_evidence(given.vae, form, 10).log_prob
        torch.testing.assert_close(found, expected)


def test_classes_go_beside_an_array_or_a_list() -> None:
    x, y = np.random.default_rng(0).normal(size=(40, 6)), np.arange(40) % 3
    for data in (pyrovae.load_data(x, labels=y), pyrovae.load_data(x.tolist(), y.tolist())):
        part = data.train
        assert part.labels is not None
        torch.testing.assert_close(part.labels, torch.from_numpy(y))
        torch.testing.assert_close(part.x, torch.from_numpy(x).float())


def test_one_callback_needs_no_list(given: Any) -> None:
    class Counter(pyrovae.Callback):
        epochs = 0

        def on_epoch_end(self, training: Any, records: Any) -> None:
            self.epochs += 1

    counter = Counter()
    pyrovae.fit(given.vae, given.data, InferenceSpec(epochs=2), counter)
    assert counter.epochs == 2


def test_every_public_name_is_completed() -> None:
    assert set(pyrovae.__all__) <= set(dir(pyrovae))
    assert all(getattr(pyrovae, name) is not None for name in pyrovae.__all__)
