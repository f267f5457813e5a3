"""Every public function leaves Pyro's global parameter store as it was."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyro
import pytest
import torch

import pyrovae
from pyrovae import diagnosis, figures
from pyrovae.data import Splits
from pyrovae.exploration.interpolation import interpolate
from pyrovae.exploration.traversal import traverse
from pyrovae.programs.vae import VAE

SMALL = {"model.latent_dim": 2, "model.decoder.widths": [4], "inference.epochs": 1}
SIZE = (1.0, 1.0)
FIGURES = {
    name
    for name, function in inspect.getmembers(figures, inspect.isfunction)
    if function.__module__ == figures.__name__ and not name.startswith("_")
}
NO_MODEL = {"load_data", "open_run", "curves", "check", "from_pyro_mcmc", "from_pyro_svi"}


@pytest.fixture
def vae(few_digits: Splits) -> VAE:
    built = pyrovae.build("vae", "svi", few_digits, SMALL)
    assert isinstance(built, VAE)
    return built


Call = Callable[[VAE, Splits], object]
QUICK: dict[str, Call] = {
    "build": lambda vae, data: pyrovae.build("mixture", "full_rank", data, SMALL),
    "fit": lambda vae, data: pyrovae.fit(vae, data),
    "Training": lambda vae, data: pyrovae.Training(vae, data, pyrovae.InferenceSpec(epochs=1)),
    "save": lambda vae, data: pyrovae.save(vae, "vae.safetensors"),
    "load": lambda vae, data: pyrovae.load("vae.safetensors"),
    "export_networks": lambda vae, data: pyrovae.export_networks(vae, "served"),
    "load_weights": lambda vae, data: pyrovae.load_weights(vae, "vae.safetensors"),
    "local_posterior": lambda vae, data: pyrovae.local_posterior(vae, data, refine_steps=2),
    "log_evidence": lambda vae, data: pyrovae.log_evidence(vae, data, samples=4),
    "to_arviz": lambda vae, data: pyrovae.to_arviz(vae, data.test.x[:2].float()),
    "evaluate_pointwise": lambda vae, data: diagnosis.evaluate_pointwise(vae, data, samples=4),
    "embed": lambda vae, data: vae.embed(data.test),
    "encode": lambda vae, data: vae.encode(data.test.x.float()),
    "decode": lambda vae, data: vae.decode(torch.zeros(3, 2)),
    "reconstruct": lambda vae, data: vae.reconstruct(data.test.x.float()),
    "sample": lambda vae, data: vae.sample(3),
    "summary": lambda vae, data: vae.summary(),
    "interpolate": lambda vae, data: interpolate(vae, data.test),
    "traverse": lambda vae, data: traverse(vae, data.test),
}
SLOW: dict[str, Call] = {
    "compare": lambda vae, data: diagnosis.compare({"one": vae, "two": other(data)}, data),
    "diagnose": lambda vae, data: diagnosis.diagnose(vae, data, draws=50),
    "refine": lambda vae, data: diagnosis.refine(vae, data),
    **{
        name: lambda vae, data, name=name: getattr(figures, name)(vae, data, size=SIZE)
        for name in sorted(FIGURES - NO_MODEL)
    },
}


def other(data: Splits) -> Any:
    return pyrovae.build("vae", "svi", data, SMALL)


def public() -> set[str]:
    """Functions of the public modules, and methods of an autoencoder that take or give data."""
    names = {name for name in (*pyrovae.__all__, *diagnosis.__all__) if name[0].islower()}
    methods = {name for name, _ in inspect.getmembers(VAE, inspect.isfunction)}
    return names | FIGURES | methods & {"embed", "encode", "decode", "reconstruct", "sample"}


def test_every_public_function_is_called_here() -> None:
    assert public() <= {*QUICK, *SLOW, *NO_MODEL}


def assert_left_alone(calls: dict[str, Call], vae: VAE, data: Splits) -> None:
    pyro.clear_param_store()
    mine = pyro.param("mine", torch.ones(2))
    left = {}
    for name, call in calls.items():
        call(vae, data)
        keys = set(pyro.get_param_store().keys())
        if keys != {"mine"}:
            left[name] = len(keys) - 1
            pyro.clear_param_store()
            mine = pyro.param("mine", torch.ones(2))
    assert left == {}
    assert pyro.param("mine") is mine


def test_the_store_is_left_alone(
    vae: VAE, few_digits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert_left_alone(QUICK, vae, few_digits)


@pytest.mark.slow
def test_the_store_is_left_alone_by_what_takes_long(vae: VAE, few_digits: Splits) -> None:
    assert_left_alone(SLOW, vae, few_digits)
