"""Real values in whatever unit: networks compute in that of the data, densities are of x."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from sklearn.decomposition import PCA, FactorAnalysis
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal

from pyrovae import VAE, InferenceSpec, ModelSpec, Splits, build, fit, load, save
from pyrovae.data import from_arrays
from pyrovae.evaluation.bound import evaluate
from pyrovae.parts.distributions.positive import positive
from pyrovae.parts.likelihoods.location_scale import LocationScaleLikelihood
from pyrovae.parts.networks import MLPEncoder
from pyrovae.parts.standardisation import Standardisation
from pyrovae.runs.weights import load_weights

LINEAR = {"kind": "mlp", "widths": []}
UNITS = np.array([1.0, 2e4, 1e-3, 30.0, 500.0, 0.2])  # such as incomes beside ages
NOISES = ["learned", "per_variable", "per_pixel"]


def low_rank(noise: np.ndarray | float, rows: int = 800) -> np.ndarray:
    """Draws of a factor model with two factors, ``(rows, 6)``."""
    generator = np.random.default_rng(0)
    loadings = generator.normal(size=(2, 6))
    z, noises = generator.normal(size=(rows, 2)), generator.normal(size=(rows, 6))
    return z @ loadings + noise * noises


def fitted(
    data: Splits,
    likelihood: dict[str, Any],
    decoder: dict[str, Any] = LINEAR,
    epochs: int = 4,
    learning_rate: float = 1e-2,
) -> VAE:
    vae = build(
        ModelSpec.model_validate({"latent_dim": 2, "decoder": decoder, "likelihood": likelihood}),
        InferenceSpec.model_validate(
            {"epochs": epochs, "optimiser": {"kind": "adam", "learning_rate": learning_rate}}
        ),
        data,
    )
    fit(vae, data)
    return vae


@torch.no_grad()
def evidence(vae: VAE, x: Tensor) -> float:
    """Mean log p(x) under a linear decoder with normal noise, in closed form."""
    columns = x.shape[1]
    corners = torch.cat([torch.zeros(1, 2), torch.eye(2)])
    density: Any = vae.decode(corners.to(next(vae.parameters()).dtype)).base_dist
    loc, noise = density.loc.double(), density.scale.double().expand(3, columns)[0]
    weight = (loc[1:] - loc[:1]).T
    covariance = weight @ weight.T + noise.square().diag()
    return MultivariateNormal(loc[0], covariance).log_prob(x.double()).mean().item()


@pytest.mark.parametrize(
    ("noise", "oracle", "sigma", "unit"),
    [
        ("learned", PCA(2), 0.3, 50.0),
        ("per_variable", FactorAnalysis(2), np.linspace(0.2, 0.6, 6), UNITS),
    ],
)
def test_a_linear_decoder_comes_to_the_closed_form(
    noise: str, oracle: Any, sigma: Any, unit: Any
) -> None:
    x = ((low_rank(sigma) + 20.0) * unit).astype(np.float32)
    data = from_arrays(x, name="table")
    train = x[data.train.rows.numpy()]
    best = oracle.fit(train / unit).score(train / unit) - np.log(unit * np.ones(6)).sum()
    vae = fitted(data, {"kind": "normal", "noise": noise}, epochs=50, learning_rate=2e-2)
    found = evidence(vae, torch.from_numpy(train))
    assert best - 0.1 < found < best + 1e-3  # no model of this kind has a higher likelihood


@pytest.mark.parametrize("kind", ["normal", "laplace"])
@pytest.mark.parametrize("noise", ["data", *NOISES])
def test_a_fit_is_the_same_in_every_unit_but_for_the_jacobian(kind: str, noise: str) -> None:
    x = low_rank(0.3, rows=100).astype(np.float32)
    unit = 1e3 * np.ones(6) if noise == "learned" else UNITS
    likelihood = {"kind": kind, "noise": noise}
    decoder = {"kind": "mlp", "widths": [5]}
    plain, moved = from_arrays(x), from_arrays(((x - 7.0) * unit).astype(np.float32))
    before = evaluate(fitted(plain, likelihood, decoder), plain.test)
    after = evaluate(fitted(moved, likelihood, decoder), moved.test)
    assert after.elbo == pytest.approx(before.elbo - np.log(unit).sum(), abs=0.02)
    assert after.kl == pytest.approx(before.kl, abs=0.02)


def test_images_have_one_unit() -> None:
    x = 5.0 + low_rank(0.3, rows=100).reshape(100, 2, 3).astype(np.float32)
    plain, moved = from_arrays(x), from_arrays(40.0 * x)
    before = evaluate(fitted(plain, {"kind": "normal"}), plain.test)
    after = evaluate(fitted(moved, {"kind": "normal"}), moved.test)
    assert after.elbo == pytest.approx(before.elbo - 6 * np.log(40.0), abs=0.02)
    units = Standardisation((1, 2, 3))
    units.fit(plain.train.mean(), plain.train.deviation())
    train = x[plain.train.rows.numpy()]
    assert units.loc.shape == units.scale.shape == (1, 1, 1)
    assert units.loc.item() == pytest.approx(train.mean(), rel=1e-5)
    assert units.scale.item() == pytest.approx(train.std(), rel=1e-5)


def test_a_table_in_raw_units_fits_better_than_independent_columns() -> None:
    generator = np.random.default_rng(0)
    age = generator.uniform(18, 80, size=400)
    income = 20_000 + 300 * age + generator.normal(0, 4000, size=400)
    for x in (np.stack([age, income], 1), np.stack([age, income], 1).round().astype(np.int64)):
        data = from_arrays(x, name="people")
        train = x[data.train.rows.numpy()] / (x.max() if x.dtype.kind == "i" else 1)
        apart = -np.log(train.std(0)).sum() - 2 * 0.5 * (np.log(2 * np.pi) + 1)
        vae = fitted(data, {"kind": "normal"}, {"kind": "mlp", "widths": [20]}, epochs=25)
        assert evaluate(vae, vae.contract.apply(data).train).elbo > apart


@pytest.mark.parametrize("value", [0.0, 0.1, -3e7])
def test_a_constant_column_has_no_scale_and_breaks_nothing(value: float) -> None:
    x = low_rank(0.3, rows=60).astype(np.float32)
    x[:, 2] = value
    data = from_arrays(x, name="table")
    assert data.train.deviation()[2] == 0
    vae = fitted(data, {"kind": "normal"})
    assert np.isfinite(evaluate(vae, data.test).elbo)
    units = vae.likelihood.standardisation
    assert isinstance(units, Standardisation)
    assert units.scale[2] == 1
    assert units.loc[2] == torch.tensor(value)


def test_the_deviation_is_that_of_the_data_however_far_from_zero() -> None:
    x = (1e6 + low_rank(0.3, rows=60)).astype(np.float32)
    train = from_arrays(x).train
    expected = x[train.rows.numpy()].astype(np.float64).std(0)
    np.testing.assert_allclose(train.deviation().numpy(), expected, rtol=1e-10)


@pytest.mark.parametrize("noise", NOISES)
def test_the_noise_starts_at_the_scale_of_the_data(noise: str) -> None:
    x = (low_rank(0.3) * UNITS).astype(np.float32)
    data = from_arrays(x)
    each = x[data.train.rows.numpy()].std(0)
    vae = build(ModelSpec.model_validate({"likelihood": {"kind": "normal", "noise": noise}}),
                "svi", data)  # fmt: skip
    likelihood = vae.likelihood
    density: Any = likelihood(torch.zeros(likelihood.outputs, 6)).base_dist
    expected = np.full(6, np.sqrt(np.square(each).mean())) if noise == "learned" else each
    np.testing.assert_allclose(density.scale.detach().expand(6).numpy(), expected, rtol=1e-4)
    np.testing.assert_allclose(
        density.loc.numpy(), x[data.train.rows.numpy()].astype(np.float64).mean(0), rtol=1e-5
    )


@pytest.mark.parametrize("noise", ["fixed", *NOISES])
def test_a_scale_that_is_given_is_in_the_unit_of_the_data(noise: str) -> None:
    x = (low_rank(0.3, rows=60) * 50).astype(np.float32)
    likelihood = {"kind": "normal", "noise": noise, "scale": 0.7}
    vae = build(ModelSpec.model_validate({"likelihood": likelihood}), "svi", from_arrays(x))
    density: Any = vae.likelihood(torch.zeros(vae.likelihood.outputs, 6)).base_dist
    torch.testing.assert_close(density.scale.detach(), torch.full_like(density.scale, 0.7))


def test_grey_levels_start_at_their_own_scale_or_at_a_part_of_the_largest() -> None:
    x = (100 + 9 * low_rank(0.3, rows=60)).clip(0, 255).astype(np.uint8).reshape(60, 2, 3)
    data = from_arrays(x)
    train = x[data.train.rows.numpy()]
    for scale, expected in (("data", 0.3 * train.std()), (0.1, 25.5)):
        likelihood = {"kind": "discretized_logistic", "scale": scale}
        vae = build(ModelSpec.model_validate({"likelihood": likelihood}), "svi", data)
        density: Any = vae.likelihood(torch.zeros(1, 1, 2, 3)).base_dist
        torch.testing.assert_close(density.scale.detach(), torch.full((1, 2, 3), expected).float())
        torch.testing.assert_close(density.loc, torch.full((1, 2, 3), train.mean()).float())


def test_weights_of_grey_levels_without_units_are_of_a_part_of_the_largest(
    tmp_path: Path,
) -> None:
    x = (100 + 9 * low_rank(0.3, rows=60)).clip(0, 255).astype(np.uint8).reshape(60, 2, 3)
    likelihood = {"kind": "discretized_logistic", "scale": 0.1}
    vae = fitted(from_arrays(x), likelihood)
    save_file(
        {n: v.clone() for n, v in vae.state_dict().items() if "standardisation" not in n},
        tmp_path / "old.safetensors",
    )
    load_weights(vae, tmp_path / "old.safetensors")
    z = torch.randn(5, 2)
    density: Any = vae.decode(z).base_dist
    torch.testing.assert_close(density.loc, 255 * vae.decoder(z)[:, 0])
    images = torch.from_numpy(x[:, None]).float()
    assert isinstance(vae.posterior.encoder, MLPEncoder)
    torch.testing.assert_close(vae.posterior.encoder(images), (images / 255).flatten(1))


@pytest.mark.parametrize("noise", ["data", "fixed", *NOISES])
@pytest.mark.parametrize("shape", [(6,), (2, 3)])
def test_units_are_kept_with_the_weights(
    noise: str, shape: tuple[int, ...], tmp_path: Path
) -> None:
    x = (low_rank(0.3, rows=60).reshape(60, *shape) * 40 + 9).astype(np.float32)
    data = from_arrays(x)
    vae = fitted(data, {"kind": "normal", "noise": noise})
    save(vae, tmp_path / "weights.safetensors")
    again = load(tmp_path / "weights.safetensors")
    z = torch.randn(5, 2)
    batch = data.test.batch(torch.arange(5)).x
    assert torch.equal(again.decode(z).log_prob(batch), vae.decode(z).log_prob(batch))
    assert torch.equal(again.encode(batch).mean, vae.encode(batch).mean)


@pytest.mark.parametrize("noise", ["fixed", "learned", "per_pixel"])
def test_weights_of_a_version_without_units_are_of_data_as_they_are(
    noise: str, tmp_path: Path
) -> None:
    likelihood = {"kind": "normal", "noise": noise, "scale": 0.1}
    data = from_arrays((low_rank(0.3, rows=60) * 40).astype(np.float32))
    save(fitted(data, likelihood), tmp_path / "new.safetensors")
    with safe_open(tmp_path / "new.safetensors", framework="pt") as file:
        names = [name for name in file.keys() if "standardisation" not in name]  # noqa: SIM118
        assert len(names) < len(file.keys())
        old, metadata = {name: file.get_tensor(name) for name in names}, file.metadata()
    del metadata["sha256"]  # older than check sums, too
    save_file(old, tmp_path / "old.safetensors", metadata)
    vae = load(tmp_path / "old.safetensors")
    assert isinstance(vae.likelihood, LocationScaleLikelihood)
    z, x = torch.randn(5, 2), data.test.batch(torch.arange(5)).x
    with torch.no_grad():
        loc, *raw = vae.decoder(z).unbind(1)
        scale = positive(vae.likelihood.raw_scale + raw[0] if raw else vae.likelihood.raw_scale)
        expected = Normal(loc, scale).log_prob(x).sum(1)
        torch.testing.assert_close(vae.decode(z).log_prob(x), expected)
        features = vae.posterior.encoder(x)  # type: ignore[operator]
    torch.testing.assert_close(features, x)


def test_a_decoder_without_widths_is_linear_and_so_is_the_encoder_that_mirrors_it() -> None:
    model = {"latent_dim": 2, "decoder": LINEAR, "likelihood": {"kind": "binomial"}}
    vae = build(ModelSpec.model_validate(model))
    z, h = torch.randn(2, 2)
    outputs = vae.decoder(torch.stack([z, h, z + h, torch.zeros(2)]))
    torch.testing.assert_close(outputs[0] + outputs[1], outputs[2] + outputs[3])
    x = torch.rand(3, 1, 8, 8) * 16
    assert torch.equal(vae.posterior.encoder(x), (x / 16).flatten(1))  # type: ignore[operator]
