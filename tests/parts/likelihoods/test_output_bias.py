"""A decoder whose last bias starts where p(x | z) has the mean of the training data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyro.distributions as dist
import pytest
import torch
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor, nn

from pyrovae import VAE, ModelSpec, Splits, build, load, save
from pyrovae.data import from_arrays
from pyrovae.errors import SpecError
from pyrovae.parts.likelihoods import BernoulliLikelihood, Likelihood
from pyrovae.parts.networks import ConvDecoder, MLPDecoder, ResidualDecoder

BITS = {"binarisation": "dynamic", "likelihood": {"kind": "bernoulli"}}
NORMAL = {"likelihood": {"kind": "normal"}}
COLOURS = (3, 8, 9)
DECODERS: dict[str, Any] = {
    "mlp": {"kind": "mlp", "widths": [6]},
    "gated": {"kind": "mlp", "widths": [6], "gated": True},
    "conv": {"kind": "conv", "widths": [4, 3]},
    "residual": {"kind": "residual", "widths": [4, 3]},
}


@pytest.fixture
def grey() -> Splits:
    """Colour images, darker in one channel than in another, with white and black pixels."""
    brightness = torch.tensor([20.0, 90.0, 200.0])[:, None, None]
    x = (torch.rand(40, *COLOURS) * brightness).to(torch.uint8)
    x[:, 1, :3], x[:, 2, 5:] = 0, 255
    return from_arrays(x, name="grey")


def stored(data: Splits) -> Tensor:
    """Training data as intensities in [0, 1], float64 ``(data, *shape)``."""
    return data.train.x[data.train.rows].double() / 255


def bits(decoder: str, output_bias: str) -> ModelSpec:
    return ModelSpec.model_validate(
        {**BITS, "decoder": DECODERS[decoder], "output_bias": output_bias}
    )


@torch.no_grad()
def mean_without_weights(vae: VAE) -> Tensor:
    """The mean of p(x | z) where the last layer sees nothing of the code, ``(*shape)``."""
    last = vae.decoder.last if isinstance(vae.decoder, MLPDecoder) else vae.decoder.layers[-1]
    nn.init.zeros_(last.weight)
    means = vae.decode(torch.randn(4, vae.prior.latent_dim)).mean
    assert torch.equal(means, means[:1].expand_as(means))
    return means[0].double()


@pytest.mark.parametrize("decoder", ["mlp", "gated"])
def test_the_mean_of_each_value_starts_at_that_of_the_data(decoder: str, grey: Splits) -> None:
    mean = mean_without_weights(build(bits(decoder, "data_mean"), "svi", grey))
    torch.testing.assert_close(mean, stored(grey).mean(0).clamp(0.001, 0.999), rtol=0, atol=1e-6)


@pytest.mark.parametrize("decoder", ["conv", "residual"])
def test_the_mean_of_each_channel_starts_at_that_of_the_data(decoder: str, grey: Splits) -> None:
    mean = mean_without_weights(build(bits(decoder, "data_mean"), "svi", grey))
    expected = stored(grey).mean((0, 2, 3))[:, None, None].expand(COLOURS)
    torch.testing.assert_close(mean, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("make", [MLPDecoder, ConvDecoder, ResidualDecoder])
def test_outputs_start_where_they_are_put(make: Any) -> None:
    decoder = make(2, COLOURS, 2, (4,))
    wanted = torch.randn(2, 3, 1, 1).expand(2, *COLOURS)
    decoder.start_at(wanted)
    last = decoder.last if make is MLPDecoder else decoder.layers[-1]
    nn.init.zeros_(last.weight)
    outputs = decoder(torch.randn(5, 2))
    torch.testing.assert_close(outputs, wanted.expand_as(outputs))
    assert last.bias.requires_grad


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("prior", ["mixture", "vamp"])
def test_nothing_but_the_last_bias_starts_elsewhere(
    decoder: str, prior: str, grey: Splits
) -> None:
    def start(output_bias: str) -> dict[str, Tensor]:
        model = {**bits(decoder, output_bias).model_dump(), "prior": {"kind": prior}}
        return build(ModelSpec.model_validate(model), "svi", grey).state_dict()

    random, data_mean = start("random"), start("data_mean")
    changed = {name for name, value in random.items() if not torch.equal(value, data_mean[name])}
    assert len(changed) == 1
    assert changed.pop().startswith("decoder.la")  # "last" or the last of "layers"


@pytest.mark.parametrize("decoder", DECODERS)
def test_weights_of_such_a_model_are_loaded_over_the_start(
    decoder: str, grey: Splits, tmp_path: Path
) -> None:
    vae = build(bits(decoder, "data_mean"), "svi", grey)
    with torch.no_grad():
        for parameter in vae.parameters():
            parameter.add_(torch.randn_like(parameter))
    save(vae, tmp_path / "weights.safetensors")
    again = load(tmp_path / "weights.safetensors")
    assert again.declaration == vae.declaration
    assert again.declaration is not None
    assert again.declaration.model.output_bias == "data_mean"
    for name, value in vae.state_dict().items():
        assert torch.equal(again.state_dict()[name], value)


def test_bernoulli_logits_have_the_mean_asked_for_and_stay_finite() -> None:
    likelihood = BernoulliLikelihood((5,))
    mean = torch.tensor([0.0, 0.001, 0.3, 0.999, 1.0]).double()
    outputs = likelihood.outputs_at(mean)
    assert outputs.shape == (1, 5)
    torch.testing.assert_close(likelihood(outputs).mean, mean.clamp(0.001, 0.999))


class OfNoMean(Likelihood):
    """A likelihood that says nothing of its mean."""

    formula = "Cauchy(loc(z), 1)"
    advice = "finite numbers only"

    def forward(self, outputs: Tensor) -> TorchDistributionMixin:
        return dist.Cauchy(outputs.squeeze(-2), 1.0).to_event(1)


def test_a_likelihood_that_cannot_be_given_a_mean_is_refused_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "pyrovae.programs.building.build_likelihood", lambda spec, shape: OfNoMean()
    )
    data = from_arrays(torch.randn(20, 3), name="table")
    with pytest.raises(SpecError, match=r"model\.output_bias.*Cauchy.*'random'$") as refused:
        build(ModelSpec.model_validate({**NORMAL, "output_bias": "data_mean"}), "svi", data)
    assert "\n" not in str(refused.value)
    build(ModelSpec.model_validate(NORMAL), "svi", data)
