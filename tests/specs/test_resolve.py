"""What a specification leaves to the data or to its neighbour is written out, and no more."""

from __future__ import annotations

import pytest

from pyrovae.errors import SpecError
from pyrovae.specs import InferenceSpec, ModelSpec
from pyrovae.specs.guides import DiagonalGuideSpec, FullRankGuideSpec
from pyrovae.specs.likelihoods import BernoulliLikelihoodSpec, BinomialLikelihoodSpec
from pyrovae.specs.networks import ConvSpec, MLPSpec, ResidualSpec
from pyrovae.specs.resolve import resolve_inference, resolve_model


def test_a_count_left_to_the_data_becomes_their_largest_intensity() -> None:
    model = resolve_model(ModelSpec(), 16.0)
    assert model.likelihood == BinomialLikelihoodSpec(total_count=16)
    assert model.model_copy(update={"likelihood": ModelSpec().likelihood}) == ModelSpec()


@pytest.mark.parametrize(
    "likelihood", [BinomialLikelihoodSpec(total_count=20), BernoulliLikelihoodSpec()]
)
def test_a_model_that_leaves_nothing_to_the_data_stays_as_it_is(likelihood: object) -> None:
    model = ModelSpec.model_validate({"likelihood": likelihood})
    assert resolve_model(model, None) == model


@pytest.mark.parametrize("levels", [None, 0.5, 0.0])
def test_data_that_are_no_counts_have_no_largest_count(levels: float | None) -> None:
    with pytest.raises(SpecError, match=r"real-valued: choose model\.likelihood\.kind 'normal'"):
        resolve_model(ModelSpec(), levels)


@pytest.mark.parametrize("guide", [DiagonalGuideSpec(), FullRankGuideSpec()])
@pytest.mark.parametrize(
    ("decoder", "encoder"),
    [
        (
            MLPSpec(widths=(3, 5), activation="tanh", gated=True),
            MLPSpec(widths=(5, 3), activation="tanh", gated=True),
        ),
        (ConvSpec(widths=(8, 4), activation="elu"), ConvSpec(widths=(4, 8), activation="elu")),
        (
            ResidualSpec(widths=(8, 4), activation="elu", blocks=3),
            ResidualSpec(widths=(4, 8), activation="elu", blocks=3),
        ),
    ],
)
def test_a_mirrored_encoder_is_the_decoder_the_other_way_round(
    guide: object, decoder: object, encoder: object
) -> None:
    inference = InferenceSpec.model_validate({"guide": guide, "seed": 3})
    resolved = resolve_inference(inference, ModelSpec.model_validate({"decoder": decoder}))
    assert resolved.guide.encoder == encoder
    assert resolved.guide.kind == inference.guide.kind
    assert resolved.model_copy(update={"guide": inference.guide}) == inference


def test_resolving_twice_changes_nothing_more() -> None:
    model = resolve_model(ModelSpec(), 16.0)
    inference = resolve_inference(InferenceSpec(), model)
    assert resolve_model(model, 255.0) == model
    assert resolve_inference(inference, ModelSpec(decoder=MLPSpec(widths=(1,)))) == inference


def test_an_encoder_of_its_own_is_left_alone() -> None:
    own = InferenceSpec(guide=DiagonalGuideSpec(encoder=MLPSpec(widths=(7,))))
    assert resolve_inference(own, ModelSpec()) == own
