"""Parts of a user's own in place of declared ones: the same numbers, or a sentence."""

from __future__ import annotations

import copy
from typing import Any

import pyro.distributions as dist
import pytest
import torch
from torch import nn

from pyrovae import Splits, build, fit
from pyrovae.errors import SpecError
from pyrovae.parts.families import DiagonalNormal, Family
from pyrovae.parts.guides import Guide
from pyrovae.parts.likelihoods import Likelihood
from pyrovae.parts.networks import Decoder, MLPEncoder
from pyrovae.parts.networks.module import ModuleEncoder
from pyrovae.parts.priors import Prior
from pyrovae.specs import InferenceSpec

BITS = {"model.likelihood.kind": "binomial", "model.decoder.widths": [7, 5]}


def test_a_part_that_is_as_declared_changes_nothing(few_digits: Splits) -> None:
    """Sent through as modules, the declared networks give the declared densities."""
    declared = build("vae", "svi", few_digits, BITS)
    encoder, decoder = declared.posterior.encoder, declared.decoder
    own = build(
        "vae",
        "svi",
        few_digits,
        BITS,
        encoder=nn.Sequential(nn.Flatten(), copy.deepcopy(encoder.layers)),
        decoder=nn.Sequential(decoder.layers, decoder.last),
        prior=declared.prior,
        likelihood=declared.likelihood,
    )
    own.posterior.family.load_state_dict(declared.posterior.family.state_dict())
    x = few_digits.train.batch(torch.arange(4)).x
    torch.testing.assert_close(own.encode(x).mean, declared.encode(x).mean)
    z = declared.encode(x).mean
    torch.testing.assert_close(own.decode(z).mean, declared.decode(z).mean)
    assert own.prior is declared.prior
    assert own.contract == declared.contract
    assert own.inference == declared.declaration.inference


def test_fit_uses_the_inference_that_it_was_built_with(few_digits: Splits) -> None:
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 6))
    vae = build("vae", "svi", few_digits, {"inference.epochs": 3}, encoder=encoder)
    assert fit(vae, few_digits)[-1].epoch == 3


def test_a_module_takes_any_batch(few_digits: Splits) -> None:
    encoder = ModuleEncoder(nn.Conv2d(1, 2, 3), (1, 8, 8), levels=16.0)
    x = few_digits.train.batch(torch.arange(6)).x
    torch.testing.assert_close(encoder(x.reshape(2, 3, 1, 8, 8)).reshape(6, -1), encoder(x))
    torch.testing.assert_close(encoder(x), encoder.module(x / 16).flatten(1))


def test_finding_the_number_of_features_changes_no_module() -> None:
    module = nn.Sequential(nn.BatchNorm2d(1), nn.Dropout(0.5))
    module[0].eval()
    before, random = copy.deepcopy(module.state_dict()), torch.get_rng_state()
    ModuleEncoder(module, (1, 8, 8))
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert [m.training for m in module] == [False, True]


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ({"piror": nn.Linear(1, 1)}, "there is no part 'piror'; did you mean 'prior'"),
        ({"prior": nn.Linear(1, 1)}, "prior = Linear"),
        ({"encoder": nn.Linear(3, 1)}, "the encoder does not take"),
        ({"encoder": "resnet"}, "encoder = 'resnet' is not a part"),
        ({"decoder": nn.Linear(8, 63)}, "gives 63 numbers for a latent, and the likelihood needs"),
        ({"decoder": nn.Linear(7, 64)}, "the decoder does not take"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_said(few_digits: Splits, part: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        build("vae", "svi", few_digits, BITS, **part)


class Cauchy(Prior):
    formula = "Cauchy(0, 1)"

    def __init__(self, latent_dim: int = 8, event: int = 1) -> None:
        super().__init__()
        self.latent_dim, self.event = latent_dim, event

    def forward(self, guide: Any) -> Any:
        return dist.Cauchy(torch.zeros(self.latent_dim), 1.0).to_event(self.event)


class OfTorch(Cauchy):
    def forward(self, guide: Any) -> Any:
        return torch.distributions.Normal(torch.zeros(8), 1.0)


class WithoutGuide(Cauchy):
    def forward(self) -> Any:  # type: ignore[override]
        return dist.Cauchy(torch.zeros(8), 1.0).to_event(1)


class Nameless(Prior):
    latent_dim = 8

    def forward(self, guide: Any) -> Any:
        return dist.Cauchy(torch.zeros(8), 1.0).to_event(1)


class Flat(Likelihood):
    formula, advice = "Normal(loc(z), 1)", "real values"

    def forward(self, outputs: Any) -> Any:
        return dist.Normal(outputs.squeeze(-4).flatten(-3), 1.0).to_event(1)


class Silent(Likelihood):
    formula = "Normal(loc(z), 1)"

    def forward(self, outputs: Any) -> Any:
        return dist.Normal(outputs.squeeze(-4), 1.0).to_event(3)


class Tensors(Silent):
    advice = "real values"

    def forward(self, outputs: Any) -> Any:
        return outputs


class Short(Decoder):
    def forward(self, z: Any) -> Any:
        return z.new_zeros(len(z), 64)

    def start_at(self, outputs: Any) -> None: ...


class Logistic(Family):
    formula = "Logistic(loc(h), 0.2)"

    def __init__(self, features: int, dims: int, event: int = 1) -> None:
        super().__init__(features, dims)
        self.loc, self.event = nn.Linear(features, dims), event

    def forward(self, features: Any) -> Any:
        return dist.Logistic(self.loc(features), 0.2).to_event(self.event)


MISTAKES: dict[str, tuple[Any, str]] = {
    "batch shape": (lambda: {"prior": Cauchy(event=0)}, r"the prior returns .*\.to_event\(1\)"),
    "torch": (lambda: {"prior": OfTorch()}, "the prior returns a distribution of torch"),
    "signature": (lambda: {"prior": WithoutGuide()}, "the prior fails: .*positional argument"),
    "a class": (lambda: {"prior": Cauchy}, "prior = Cauchy is a class: give an instance"),
    "formula": (lambda: {"prior": Nameless()}, "the prior Nameless has no attribute 'formula'"),
    "advice": (
        lambda: {"likelihood": Silent()},
        "likelihood Silent has no attribute 'advice'",
    ),
    "event shape": (lambda: {"likelihood": Flat()}, r"the likelihood .*event shape \(1, 8, 8\)$"),
    "tensor": (lambda: {"likelihood": Tensors()}, "the likelihood returns a tensor of shape"),
    "decoder": (
        lambda: {"decoder": Short()},
        r"the decoder .*return outputs of shape \(2, 1",
    ),
    "guide": (
        lambda: {"guide": Guide(nn.Flatten(), Logistic(64, 8, event=0))},
        r"the guide returns .*\.to_event\(1\)",
    ),
    "features": (
        lambda: {"guide": Guide(nn.Flatten(), Logistic(63, 8))},
        "the encoder gives 64 features and the guide's family takes 63",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_each_part_is_tried_once(few_digits: Splits, mistake: str) -> None:
    parts, words = MISTAKES[mistake]
    with pytest.raises(SpecError, match=words):
        build("vae", "svi", few_digits, BITS, **parts())


@pytest.mark.parametrize("latent_dim", [2, 5])
def test_the_latent_dimension_is_that_of_the_part(few_digits: Splits, latent_dim: int) -> None:
    guide = Guide(nn.Flatten(), Logistic(64, latent_dim))
    for own in ({"prior": Cauchy(latent_dim)}, {"guide": guide}):
        vae: Any = build("vae", "svi", few_digits, BITS, **own)
        assert vae.prior.latent_dim == vae.posterior.latent_dim == latent_dim
    with pytest.raises(SpecError, match="give both the same latent_dim"):
        build("vae", "svi", few_digits, {"model.latent_dim": 9}, prior=Cauchy(latent_dim))


def test_a_guide_takes_any_module_as_its_encoder(few_digits: Splits) -> None:
    cnn = nn.Sequential(nn.Conv2d(1, 2, 3), nn.SiLU())
    family = Logistic(72, 8)
    vae: Any = build("vae", "svi", few_digits, BITS, guide=Guide(cnn, family))
    x = few_digits.train.batch(torch.arange(4)).x
    torch.testing.assert_close(vae.encode(x).mean, family.loc(cnn(x / 16).flatten(1)))


def test_the_start_at_the_mean_needs_a_decoder_that_is_known(few_digits: Splits) -> None:
    settings = {**BITS, "model.output_bias": "data_mean"}
    with pytest.raises(SpecError, match="choose 'random'"):
        build("vae", "svi", few_digits, settings, decoder=nn.Linear(8, 64))


def test_a_program_has_its_own_parts(few_digits: Splits) -> None:
    with pytest.raises(SpecError, match="a program has its own parts"):
        build("models/handwritten.py", InferenceSpec(), few_digits, encoder=nn.Linear(64, 2))


def test_the_encoder_of_a_guide_of_ones_own_sees_the_units_of_the_likelihood(
    few_digits: Splits,
) -> None:
    encoder = MLPEncoder((1, 8, 8), levels=16.0)
    guide = Guide(encoder, DiagonalNormal(encoder.features, 8))
    vae = build("vae", "svi", few_digits, guide=guide)
    x = few_digits.train.batch(torch.arange(3)).x
    torch.testing.assert_close(encoder.scaled(x), vae.likelihood.standardisation(x))
