"""Mistaken arguments in Python: a sentence before anything expensive begins, never a traceback."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import pyrovae
from pyrovae import InferenceSpec, Splits, figures
from pyrovae.data import Batch
from pyrovae.diagnosis import compare, diagnose, evaluate_pointwise
from pyrovae.errors import PyrovaeError
from pyrovae.exploration import ablation, sweep
from pyrovae.exploration.completeness import sample_both
from pyrovae.exploration.debiasing import debias
from pyrovae.exploration.factors import disentangle
from pyrovae.exploration.interpolation import interpolate
from pyrovae.exploration.manifold import manifold
from pyrovae.exploration.outliers import score_outliers
from pyrovae.exploration.traversal import traverse
from pyrovae.runs.open_run import OpenRun
from pyrovae.specs.resampling import KernelResamplingSpec

ONE = InferenceSpec(epochs=1)
# Functions of a model and data, each with a count that it takes.
OF_A_MODEL: dict[str, tuple[Callable[..., Any], str]] = {
    "evaluate_pointwise": (evaluate_pointwise, "samples"),
    "traverse": (traverse, "steps"),
    "interpolate": (interpolate, "pairs"),
    "sample_both": (sample_both, "neighbours"),
    "manifold": (manifold, "size"),
    "disentangle": (disentangle, "repeats"),
    "log_evidence": (pyrovae.log_evidence, "samples"),
    "diagnose": (diagnose, "draws"),
}
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
    "data before the model": (
        lambda p: pyrovae.build(p.data, "vae", "svi"),
        r"^build\(model, inference, data\): the model is of type Splits",
    ),
    "vae(x)": (lambda p: p.vae(torch.zeros(2, 1, 8, 8)), r"vae.encode\(x\) is q\(z | x\)"),
    "a folder to save to": (
        lambda p: pyrovae.save(p.vae, "."),
        r"path\): . is a folder",
    ),
    "a folder that is not there to save to": (
        lambda p: pyrovae.save(p.vae, "no/vae.safetensors"),
        "vae.safetensors is in no folder",
    ),
    "a model for ArviZ": (lambda p: pyrovae.to_arviz(p.vae), "there are no data: give those"),
    "a mode of compilation": (
        lambda p: pyrovae.Computation(compile="yes"),
        "^Computation: compile = 'yes'; choose one of: auto, on, off",
    ),
    "a computation in a word": (
        lambda p: pyrovae.fit(p.vae, p.data, ONE, computation="on"),
        r"^computation = 'on': give pyrovae.Computation\(",
    ),
    "a callback in a word": (
        lambda p: pyrovae.fit(p.vae, p.data, callbacks="tqdm"),
        "tqdm",
    ),
    "models in a list": (lambda p: compare([p.vae, p.vae], p.data), r"^compare\(models, data\): "),
    "the path of a run among models": (
        lambda p: compare({"a": p.vae, "b": "runs/b"}, p.data),
        r"models\['b'\] is of type str",
    ),
    "no simulations": (
        lambda p: compare({"a": p.vae, "b": p.vae}, p.data, simulations=0),
        "the number of simulations is 0",
    ),
    "an observation that is a word": (
        lambda p: traverse(p.vae, p.data, datum="first"),
        "^datum = 'first': there are 40 data",
    ),
    "one observation without its axis": (
        lambda p: traverse(p.vae, torch.zeros(1, 8, 8)),
        r"data of shape \(1, 8, 8\), .* give \(data, 1, 8, 8\)",
    ),
    "no observations": (
        lambda p: interpolate(p.vae, torch.zeros(0, 1, 8, 8)),
        "there are no data",
    ),
    "a test split in place of splits": (
        lambda p: sweep.sweep({1.0: p.vae}, p.data.test),
        "data of type Dataset: .*as load_data",
    ),
    "models to ablate in a list": (lambda p: ablation.ablate([p.vae], p.data), "of type list"),
    "a sweep of a name": (lambda p: sweep.variants("svi"), r"type str: give an InferenceSpec"),
    "βs in words": (lambda p: sweep.variants(ONE, ["1"]), r"betas = \['1'\] must be numbers"),
    "a single β": (lambda p: ablation.variants(ONE, 4.0), r"betas = 4.0 must be positive"),
    "a rare class without a list": (
        lambda p: debias(p.vae, p.vae, p.data, 2, resampling=KernelResamplingSpec()),
        r"rare = 2: give a list of classes",
    ),
    "the path of outliers": (
        lambda p: score_outliers(p.vae, p.data, p.data, "mnist"),
        "data of type str: give one split",
    ),
    "a figure of data": (lambda p: figures.latents(p.data, p.vae), r"^figures take \(vae, data"),
}


@pytest.mark.parametrize("count", [0, -1, 2.5, "ten", True])
@pytest.mark.parametrize("name", OF_A_MODEL)
def test_a_count_is_a_whole_number(given: Any, name: str, count: Any) -> None:
    function, option = OF_A_MODEL[name]
    with pytest.raises(PyrovaeError, match=rf"^{name}: the number of .* is {count!r}: give a "):
        function(given.vae, given.data, **{option: count})


@pytest.mark.parametrize("name", OF_A_MODEL)
def test_a_model_comes_first_and_options_have_their_names(given: Any, name: str) -> None:
    function, option = OF_A_MODEL[name]
    for other in ([given.vae], "runs/mine", given.data, None):
        with pytest.raises(PyrovaeError, match=rf"^{name}\(vae, data\): the first argument is"):
            function(other, given.data)
    with pytest.raises(PyrovaeError, match=f"^{name} has no option '{option}z'; did you mean"):
        function(given.vae, given.data, **{option + "z": 3})
    with pytest.raises(PyrovaeError, match=r"data of type int"):
        function(given.vae, 3)


@pytest.mark.parametrize("function", [traverse, interpolate, evaluate_pointwise])
def test_any_form_of_the_data_is_taken(given: Any, function: Callable[..., Any]) -> None:
    seen = given.vae.contract.apply(given.data).test
    x = seen.batch(torch.arange(len(seen))).x
    forms = (given.data, given.data.test, x.numpy(), Batch(x))
    expected = vars(function(given.vae, x))
    for form in forms:
        found = vars(function(given.vae, form))
        for name, value in expected.items():
            if isinstance(value, torch.Tensor):
                torch.testing.assert_close(found[name], value)


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


MISTAKES_ABOUT_A_RUN = {
    "draws in words": (lambda run: run.sample("ten"), "^sample: the number of draws is 'ten'"),
    "no draws": (lambda run: run.sample(0), "the number of draws is 0"),
    "a seed in words": (lambda run: run.sample(5, seed="a"), "the seed is 'a': .* 0 or more"),
    "an option of another": (lambda run: run.embed(num=3), "^embed has no option 'num'"),
    "a misspelt analysis option": (
        lambda run: run.explore(epoch=1),
        "^explore has no option 'epoch'; did you mean 'epochs'",
    ),
    "a count in words": (lambda run: run.report(num="ten"), "^report: .* observations is 'ten'"),
    "half a count": (lambda run: run.explore(num=2.5), "^explore: .* observations is 2.5"),
}


@pytest.mark.parametrize("mistake", MISTAKES_ABOUT_A_RUN)
def test_a_mistake_about_a_run_is_one_sentence(given: Any, mistake: str) -> None:
    facts = SimpleNamespace(status="finished")
    run = OpenRun(Path("run"), "run", given.vae, given.data, ONE, facts, None, "", 1, ())  # type: ignore[arg-type]
    call, words = MISTAKES_ABOUT_A_RUN[mistake]
    with pytest.raises(PyrovaeError, match=words):
        call(run)


def test_weights_are_read_from_the_folder_of_a_run(given: Any, tmp_path: Path) -> None:
    pyrovae.save(given.vae, tmp_path / "weights.safetensors")
    other = pyrovae.build("vae", "svi", given.data, {"inference.seed": 5})
    pyrovae.load_weights(other, tmp_path)
    for first, second in zip(given.vae.parameters(), other.parameters(), strict=True):
        assert torch.equal(first, second)


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


@pytest.mark.parametrize(
    ("name", "meant"),
    [("lod_data", "did you mean 'load_data'"), ("Comparison", "it is pyrovae.diagnosis.Comp")],
)
def test_a_name_that_is_none_is_answered_with_one(name: str, meant: str) -> None:
    with pytest.raises(AttributeError, match=f"no attribute '{name}'; {meant}"):
        getattr(pyrovae, name)


def test_every_public_name_is_completed() -> None:
    assert set(pyrovae.__all__) <= set(dir(pyrovae))
    assert all(getattr(pyrovae, name) is not None for name in pyrovae.__all__)
