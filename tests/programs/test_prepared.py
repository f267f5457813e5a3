"""Data as loaded are never misread: they are prepared as the model was fitted, or refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from pyrovae import Autoencoder, Splits, build, load_data, log_evidence
from pyrovae.data import Dataset
from pyrovae.diagnosis import diagnose
from pyrovae.errors import DataError
from pyrovae.evaluation.bound import evaluate
from pyrovae.evaluation.encoding import encode
from pyrovae.evaluation.latent_means import codes
from pyrovae.evaluation.local import LocalPosterior
from pyrovae.evaluation.reconstruction import reconstruct
from pyrovae.exploration.interpolation import interpolate
from pyrovae.exploration.rate_distortion import rate_and_distortion
from pyrovae.exploration.traversal import traverse
from pyrovae.report.figures import reconstructions
from pyrovae.report.figures.latent_plane import latent

MODELS = {
    "bernoulli": {"model.binarisation": "threshold"},
    "vae": {"model.likelihood.kind": "continuous_bernoulli"},
}
# What is given a split; the numbers that come of it.
OF_SPLITS: dict[str, Callable[[Autoencoder, Dataset], Any]] = {
    "evaluate": lambda vae, data: evaluate(vae, data).elbo,
    "log_evidence": lambda vae, data: log_evidence(vae, data, 3).log_prob,
    "codes": codes,
    "embed": lambda vae, data: vae.embed(data),
    "encode": lambda vae, data: encode(vae, data)["z"].deviation,
    "rate_and_distortion": lambda vae, data: rate_and_distortion(vae, data).distortion,
    "diagnose": lambda vae, data: diagnose(vae, data, num=50, draws=100).draws.z,
    "reconstructions": lambda vae, data: pixels(reconstructions(vae, data)),
    "latent": lambda vae, data: pixels(latent(vae, data)),
}
# What is given a tensor.
OF_TENSORS: dict[str, Callable[[Any, torch.Tensor], Any]] = {
    "encode": lambda vae, x: vae.encode(x),
    "reconstruct of the model": lambda vae, x: vae.reconstruct(x),
    "reconstruct": reconstruct,
    "local posterior": LocalPosterior,
    "traverse": traverse,
    "interpolate": lambda vae, x: interpolate(vae, x[:4]),
}


def pixels(figure: Any) -> np.ndarray:
    figure.set_dpi(20)
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())


@pytest.fixture(scope="module")
def digits() -> Splits:
    return load_data("digits")


@pytest.mark.usefixtures("fewer")
@pytest.mark.parametrize("name", OF_SPLITS)
@pytest.mark.parametrize("model", MODELS)
def test_splits_as_loaded_are_as_good_as_prepared_ones(
    digits: Splits, model: str, name: str
) -> None:
    vae = build(model, "svi", digits, MODELS[model])
    few = digits.test.first(60)
    found = [
        OF_SPLITS[name](vae, data) for data in (few, vae.contract.apply(digits).test.first(60))
    ]
    np.testing.assert_array_equal(*map(np.asarray, found))


@pytest.mark.parametrize("name", OF_TENSORS)
@pytest.mark.parametrize("model", [*MODELS, "cvae"])
def test_tensors_as_loaded_are_refused(digits: Splits, model: str, name: str) -> None:
    vae = build(model, "svi", digits, MODELS.get(model))
    x = digits.test.x[:4].float()
    with pytest.raises(DataError, match=r"x has the value 1., and the model sees values up to 1"):
        OF_TENSORS[name](vae, x)


def test_counts_may_be_larger_than_any_before(digits: Splits) -> None:
    vae: Any = build("vae", "svi", digits, {"model.likelihood.kind": "poisson"})
    assert vae.encode(digits.test.x[:4].float() * 2).mean.isfinite().all()
