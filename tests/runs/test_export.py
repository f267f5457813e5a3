"""Exported programs are the model's own functions, for any number of data."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import pyrovae
from pyrovae import VAE, Splits, build
from pyrovae.errors import PyrovaeError, SpecError
from pyrovae.programs.autoencoder import Autoencoder
from pyrovae.runs import export

SMALL: dict[str, Any] = {"model.latent_dim": 3, "model.decoder.widths": [8]}
MODELS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "default": ("vae", "small_data", SMALL),
    "images": ("conv", "svi", {"model.latent_dim": 3}),
    "several modes": ("vae", "mixture", SMALL),
    "a flow as prior": ("flow", "low_rank", SMALL),
}


def made(name: str, data: Splits) -> VAE:
    model, inference, settings = MODELS[name]
    vae = build(model, inference, data, settings)
    assert isinstance(vae, VAE)
    return vae


def assert_same(vae: VAE, part: str, run: export.Program, count: int) -> None:
    vae.eval()
    if part == "decoder":
        z = torch.randn(count, vae.prior.latent_dim)
        known: tuple[Tensor, ...] = (vae.decode(z).mean,)
    else:
        z = torch.randint(0, 17, (count, 1, 8, 8)).float()
        known = (vae.encode(z).mean, vae.encode(z).stddev)
    torch.testing.assert_close(tuple(run(z)), known, rtol=1e-5, atol=1e-5)


def test_files_hold_the_models_own_functions(few_digits: Splits, tmp_path: Path) -> None:
    for name in MODELS:
        vae = made(name, few_digits)
        files = pyrovae.export_networks(vae, tmp_path / name)
        assert [file.name for file in files] == ["encoder.pt2", "decoder.pt2"], name
        for file in files:
            run = torch.export.load(file).module()
            for count in (1, 5):
                assert_same(vae, file.stem, run, count)


@pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("onnx", "onnxscript", "onnxruntime"))),
    reason="onnx, onnxscript and onnxruntime are not installed",
)
def test_so_do_onnx_files(few_digits: Splits, tmp_path: Path) -> None:
    runtime = importlib.import_module("onnxruntime")
    for name in MODELS.keys() - {"a flow as prior"}:  # ONNX has no Cholesky factor
        vae = made(name, few_digits)
        for file in pyrovae.export_networks(vae, tmp_path / name, "onnx"):
            session = runtime.InferenceSession(file)
            place = session.get_inputs()[0].name

            def run(x: Tensor, session: Any = session, place: str = place) -> list[Tensor]:
                return [torch.as_tensor(y) for y in session.run(None, {place: x.numpy()})]

            for count in (1, 5):
                assert_same(vae, file.stem, run, count)
    with pytest.raises(SpecError, match=r"encoder cannot be exported.*format='pt2'"):
        pyrovae.export_networks(made("a flow as prior", few_digits), tmp_path, "onnx")


def test_nothing_of_the_model_changes(few_digits: Splits, tmp_path: Path) -> None:
    vae = made("default", few_digits).train()
    before = {name: value.clone() for name, value in vae.state_dict().items()}
    random = torch.get_rng_state()
    pyrovae.export_networks(vae, tmp_path)
    assert torch.equal(torch.get_rng_state(), random)
    assert vae.training
    assert all(parameter.requires_grad for parameter in vae.parameters())
    assert all(torch.equal(value, before[name]) for name, value in vae.state_dict().items())


def test_a_guide_without_a_known_mean_leaves_the_decoder(
    few_digits: Splits, tmp_path: Path
) -> None:
    vae = build("vae", "iaf", few_digits, SMALL)
    with pytest.raises(SpecError, match="mean of q"):
        pyrovae.export_networks(vae, tmp_path)
    assert [f.name for f in pyrovae.export_networks(vae, tmp_path, parts=["decoder"])] == [
        "decoder.pt2"
    ]


def test_what_differs_from_the_model_is_not_written(
    few_digits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(program: Any) -> tuple[bytes, export.Program]:
        return b"", lambda x: [y + 1e-3 for y in program.module()(x)]

    monkeypatch.setattr(export, "_pt2", wrong)
    with pytest.raises(PyrovaeError, match=r"encoder differs from the model by 0\.001"):
        pyrovae.export_networks(made("default", few_digits), tmp_path / "served")
    assert list((tmp_path / "served").iterdir()) == []


class Odd(torch.nn.Module):
    """A network whose result depends on its input in a way that cannot be recorded."""

    def forward(self, z: Tensor) -> Tensor:
        return z.repeat(1, 64)[:, :64] * float(z.sum())


def test_mistakes_are_one_sentence(few_digits: Splits, tmp_path: Path) -> None:
    vae = made("default", few_digits)
    odd = build("vae", "svi", few_digits, {"model.likelihood.kind": "poisson"}, decoder=Odd())
    by_hand = build("handwritten", "svi", few_digits)
    calls: dict[str, tuple[Autoencoder, dict[str, Any]]] = {
        "'tflite'": (vae, {"format": "tflite"}),
        "'prior'": (vae, {"parts": ["prior"]}),
        "the decoder cannot be exported": (odd, {"parts": ["decoder"]}),
        "no VAE of encoder and decoder": (by_hand, {}),
    }
    for words, (model, options) in calls.items():
        with pytest.raises(SpecError, match=words) as error:
            pyrovae.export_networks(model, tmp_path, **options)
        assert "\n" not in str(error.value)
        assert len(str(error.value)) < 300
