"""The estimator of scikit-learn: its contract, and that its results are those of pyrovae."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import pyrovae
from pyrovae import Splits
from pyrovae.errors import PyrovaeError, SpecError
from pyrovae.sklearn import VAE

X = load_iris().data
TINY: dict[str, Any] = {
    "latent_dim": 2,
    "epochs": 1,
    "model.decoder.widths": [4],
    "inference.guide.encoder.kind": "mlp",
    "inference.guide.encoder.widths": [4],
}


@pytest.fixture
def tiny() -> VAE:
    return VAE(samples=10, **TINY)


def test_it_keeps_the_contract_of_scikit_learn(tiny: VAE) -> None:
    found = check_estimator(tiny, on_skip=None)
    assert {check["status"] for check in found} <= {"passed", "skipped"}
    assert sum(check["status"] == "passed" for check in found) > 35


def test_results_are_those_of_build_fit_embed_and_log_evidence(tiny: VAE) -> None:
    whole = pyrovae.load_data(X)
    rows = torch.cat([whole.train.rows, whole.test.rows])
    data = Splits(replace(whole.train, rows=rows), whole.validation, whole.validation)
    dotted = {"model.latent_dim": 2, "inference.epochs": 1}
    vae = pyrovae.build("vae", "svi", data, {k: v for k, v in TINY.items() if "." in k} | dotted)
    history = pyrovae.fit(vae, data)
    tiny.fit(X)
    assert [record.elbo for record in tiny.history_] == [record.elbo for record in history]
    np.testing.assert_array_equal(tiny.transform(X), vae.embed(X))
    np.testing.assert_array_equal(clone(tiny).fit_transform(X), vae.embed(X))
    expected = pyrovae.log_evidence(vae, X, 10).log_prob.numpy()
    np.testing.assert_array_equal(tiny.score_samples(X), expected)
    assert tiny.score(X) == expected.mean()
    means = vae.decode(vae.embed(X)).mean.detach().numpy()
    np.testing.assert_array_equal(tiny.inverse_transform(tiny.transform(X)), means)


def test_every_observation_is_fitted_to_or_held_out(tiny: VAE, monkeypatch: Any) -> None:
    seen: list[Splits] = []
    fitted = pyrovae.fit
    monkeypatch.setattr(
        "pyrovae.sklearn.fit", lambda v, data, **o: seen.append(data) or fitted(v, data, **o)
    )
    tiny.fit(X)
    rows = torch.cat([seen[0].train.rows, seen[0].validation.rows])
    assert rows.sort().values.tolist() == list(range(len(X)))
    assert len(seen[0].validation) == 15


def test_units_of_intensities_come_back() -> None:
    grey = load_digits().data[:60].astype("u1")
    kinds = {"bernoulli": "dynamic", "continuous_bernoulli": "none", "poisson": "none"}
    for kind, bits in kinds.items():
        settings = {**TINY, "model.likelihood.kind": kind, "model.binarisation": bits}
        vae = VAE(**settings).fit(grey)
        means = vae.inverse_transform(vae.transform(grey[:5]))
        seen = vae.autoencoder_.reconstruct(
            vae.autoencoder_.split(vae._observations(grey[:5])).batch(torch.arange(5)).x
        )
        factor = {"continuous_bernoulli": 255.0}.get(kind, 1.0)
        # Bits are drawn, and latents of a draw are not quite those of another.
        close = {"rtol": 0.2} if bits == "dynamic" else {"rtol": 1e-5}
        np.testing.assert_allclose(means, factor * seen.numpy(), **close)


def test_it_is_searched_over_in_a_pipeline() -> None:
    pipe = make_pipeline(StandardScaler(), VAE(samples=5, **TINY))
    grid = {"vae__latent_dim": [1, 3], "vae__inference.guide.kind": ["full_rank"]}
    search = GridSearchCV(pipe, grid, cv=2).fit(X)
    best = search.best_params_["vae__latent_dim"]
    assert search.transform(X).shape == (len(X), best)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert "L(x) L(x)ᵀ" in search.best_estimator_[-1].autoencoder_.formulas().guide


def test_a_frame_and_its_missing_values() -> None:
    frame = load_iris(as_frame=True).data.iloc[:40]
    holes = frame.mask(np.random.default_rng(0).random(frame.shape) < 0.2)
    vae = VAE(**TINY).set_output(transform="pandas").fit(holes)
    found = vae.transform(holes)
    assert list(found.columns) == ["z[0]", "z[1]"]
    assert list(found.index) == list(frame.index)
    assert list(vae.feature_names_in_) == list(frame.columns)
    expected = vae.autoencoder_.embed(holes.set_axis(range(4), axis=1))
    np.testing.assert_array_equal(found, expected)
    other = holes.fillna(7.0)  # whatever stands where a value is not known
    assert not np.allclose(vae.score_samples(other), vae.score_samples(holes))


def test_images_keep_their_shape() -> None:
    images = load_digits().images[:40]
    settings = {"model.decoder.kind": "conv", "model.decoder.widths": [2, 3], "epochs": 1}
    vae = VAE(**settings).fit(images)
    assert vae.inverse_transform(vae.transform(images)).shape == (40, 1, 8, 8)
    assert vae.sample(3, random_state=0).shape == (3, 1, 8, 8)


def test_draws_follow_the_seed(tiny: VAE) -> None:
    tiny.fit(X)
    np.testing.assert_array_equal(tiny.sample(4, 7), tiny.sample(4, 7))
    a, b = (tiny.sample(2, np.random.RandomState(0)) for _ in range(2))
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(tiny.sample(2), tiny.sample(2))


def test_it_is_pickled_as_safetensors(tiny: VAE) -> None:
    tiny.fit(X)
    state = tiny.__getstate__()
    assert isinstance(state["autoencoder_"], bytes)
    assert isinstance(tiny.autoencoder_, pyrovae.VAE)
    again = pickle.loads(pickle.dumps(tiny))
    np.testing.assert_array_equal(again.transform(X), tiny.transform(X))
    np.testing.assert_array_equal(again.score_samples(X), tiny.score_samples(X))
    assert again.get_params() == tiny.get_params()
    assert pickle.loads(pickle.dumps(VAE(**TINY))).get_params() == VAE(**TINY).get_params()


def test_mistakes_are_one_sentence(tiny: VAE) -> None:
    mistakes = {
        "epoch": {"inference.epoch": 3},
        "latent_dims=3: the key starts with": {"latent_dims": 3},
        "vea": {"model": "vea"},
        "there is no such device": {"device": "gpu"},
    }
    for said, params in mistakes.items():
        with pytest.raises(SpecError, match=said) as told:
            clone(tiny).set_params(**params).fit(X)
        assert "--set" not in str(told.value)
    with pytest.raises(SpecError, match="is a point and has no density"):
        clone(tiny).set_params(**{"inference.guide.kind": "delta"}).fit(X).score(X)
    with pytest.raises(PyrovaeError, match="model has 2 latent"):
        tiny.fit(X).inverse_transform(np.zeros((3, 5)))


def test_a_program_by_hand_is_fitted_and_not_pickled() -> None:
    shelf = Path(pyrovae.__file__).parents[1] / "models/handwritten.py"
    bits = (load_digits().images[:40] > 7).astype("u1")
    vae = VAE(str(shelf), epochs=1).fit(bits)
    assert len(vae.get_feature_names_out()) == vae.transform(bits).shape[1]
    assert np.isfinite(vae.score(bits))
    with pytest.raises(SpecError, match="cannot be pickled"):
        pickle.dumps(vae)
    with pytest.raises(SpecError, match="no decoder of its own"):
        vae.inverse_transform(vae.transform(bits))
