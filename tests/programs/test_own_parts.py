"""Parts of a user's own in place of declared ones: the same numbers, or a sentence."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from pyrovae import Splits, build, fit
from pyrovae.errors import SpecError
from pyrovae.parts.families import DiagonalNormal
from pyrovae.parts.guides import Guide
from pyrovae.parts.networks import MLPEncoder
from pyrovae.parts.networks.module import ModuleEncoder
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
