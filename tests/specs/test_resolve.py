"""What a specification leaves to the data or to its neighbour is written out, and no more."""

from __future__ import annotations

import pytest

from pyrovae.errors import SpecError
from pyrovae.specs import InferenceSpec, ModelSpec
from pyrovae.specs.base import Spec
from pyrovae.specs.guides import DiagonalGuideSpec, FullRankGuideSpec
from pyrovae.specs.likelihoods import (
    AutoLikelihoodSpec,
    BernoulliLikelihoodSpec,
    BinomialLikelihoodSpec,
    CategoricalLikelihoodSpec,
    DirichletMultinomialLikelihoodSpec,
    DiscretizedLogisticLikelihoodSpec,
    MultinomialLikelihoodSpec,
)
from pyrovae.specs.networks import (
    ConvEncoderSpec,
    ConvSpec,
    MirrorSpec,
    MLPEncoderSpec,
    MLPSpec,
    ResidualEncoderSpec,
    ResidualSpec,
)
from pyrovae.specs.resolve import choose_likelihood, resolve_inference, resolve_model


def not_asked_for() -> float:
    raise AssertionError("a pass over the data that nobody needs")


@pytest.mark.parametrize(
    ("left", "resolved"),
    [
        (BinomialLikelihoodSpec(), BinomialLikelihoodSpec(total_count=16)),
        (CategoricalLikelihoodSpec(), CategoricalLikelihoodSpec(levels=16)),
        (
            DiscretizedLogisticLikelihoodSpec(noise="per_pixel", scale=0.3),
            DiscretizedLogisticLikelihoodSpec(noise="per_pixel", scale=0.3, levels=16),
        ),
    ],
    ids=lambda spec: spec.kind,
)
def test_a_count_left_to_the_data_becomes_their_largest_intensity(
    left: Spec, resolved: Spec
) -> None:
    model = ModelSpec.model_validate({"likelihood": left})
    assert resolve_model(model, 16.0, not_asked_for).likelihood == resolved
    again = resolve_model(model, 16.0, not_asked_for).model_copy(update={"likelihood": left})
    assert again == model


@pytest.mark.parametrize(("mean_total", "count"), [(3.4, 3), (3.6, 4), (0.2, 1), (0.0, 1)])
def test_a_total_left_to_the_data_becomes_their_rounded_mean_total(
    mean_total: float, count: int
) -> None:
    for spec in (MultinomialLikelihoodSpec, DirichletMultinomialLikelihoodSpec):
        resolved = resolve_model(ModelSpec(likelihood=spec()), None, lambda: mean_total)
        assert resolved.likelihood == spec(total_count=count)


@pytest.mark.parametrize(
    "likelihood",
    [
        BinomialLikelihoodSpec(total_count=20),
        CategoricalLikelihoodSpec(levels=20),
        DiscretizedLogisticLikelihoodSpec(levels=20),
        MultinomialLikelihoodSpec(total_count=20),
        DirichletMultinomialLikelihoodSpec(total_count=20),
        BernoulliLikelihoodSpec(),
    ],
    ids=lambda spec: spec.kind,
)
def test_a_model_that_leaves_nothing_to_the_data_stays_as_it_is(likelihood: Spec) -> None:
    model = ModelSpec.model_validate({"likelihood": likelihood})
    assert resolve_model(model, None, not_asked_for) == model


@pytest.mark.parametrize("kind", ["binomial", "categorical", "discretized_logistic"])
@pytest.mark.parametrize("levels", [None, 0.5, 0.0, 16.5])
def test_data_that_are_no_counts_have_no_largest_count(kind: str, levels: float | None) -> None:
    model = ModelSpec.model_validate({"likelihood": {"kind": kind}})
    words = rf"'{kind}' needs .* real-valued: choose model\.likelihood\.kind 'normal'"
    with pytest.raises(SpecError, match=words):
        resolve_model(model, levels, not_asked_for)


@pytest.mark.parametrize("guide", [DiagonalGuideSpec(), FullRankGuideSpec()])
@pytest.mark.parametrize(
    ("decoder", "encoder"),
    [
        (
            MLPSpec(widths=(3, 5), activation="tanh", gated=True),
            MLPEncoderSpec(widths=(5, 3), activation="tanh", gated=True),
        ),
        (
            ConvSpec(widths=(8, 4), activation="elu"),
            ConvEncoderSpec(widths=(4, 8), activation="elu"),
        ),
        (
            ResidualSpec(widths=(8, 4), activation="elu", blocks=3),
            ResidualEncoderSpec(widths=(4, 8), activation="elu", blocks=3),
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


@pytest.mark.parametrize(
    ("likelihood", "inputs"),
    [
        ({"kind": "negative_binomial"}, "log1p"),
        ({"kind": "poisson"}, "log1p"),
        ({"kind": "multinomial"}, "log1p"),
        ({"kind": "dirichlet_multinomial"}, "log1p"),
        ({"kind": "binomial"}, "scaled"),
        ({"kind": "normal"}, "scaled"),
    ],
)
def test_an_encoder_of_counts_without_a_bound_sees_their_logarithms(
    likelihood: dict[str, str], inputs: str
) -> None:
    model = ModelSpec.model_validate({"likelihood": likelihood})
    encoder = resolve_inference(InferenceSpec(), model).guide.encoder
    assert not isinstance(encoder, MirrorSpec)
    assert encoder.inputs == inputs


def test_resolving_twice_changes_nothing_more() -> None:
    model = resolve_model(ModelSpec(), 16.0, not_asked_for)
    inference = resolve_inference(InferenceSpec(), model)
    assert resolve_model(model, 255.0, not_asked_for) == model
    assert resolve_inference(inference, ModelSpec(decoder=MLPSpec(widths=(1,)))) == inference


def test_an_encoder_of_its_own_is_left_alone() -> None:
    own = InferenceSpec(guide=DiagonalGuideSpec(encoder=MLPEncoderSpec(widths=(7,))))
    assert resolve_inference(own, ModelSpec()) == own


@pytest.mark.parametrize(
    ("binarisation", "shape", "levels", "kind"),
    [
        ("none", (1, 8, 8), 1.0, "bernoulli"),
        ("none", (12,), 1.0, "bernoulli"),
        ("dynamic", (1, 8, 8), 255.0, "bernoulli"),
        ("none", (1, 8, 8), 16.0, "discretized_logistic"),
        ("none", (3, 32, 32), 255.0, "discretized_logistic"),
        ("none", (200,), 40.0, "negative_binomial"),
        ("none", (6,), None, "normal"),
        ("none", (1, 8, 8), None, "normal"),
    ],
)
def test_the_likelihood_left_to_the_data_has_their_support(
    binarisation: str, shape: tuple[int, ...], levels: float | None, kind: str
) -> None:
    model = ModelSpec.model_validate(
        {"binarisation": binarisation, "likelihood": {"kind": "auto"}}
    )
    chosen = choose_likelihood(model, shape, levels)
    assert chosen.likelihood.kind == kind
    assert chosen.reason.startswith("the ")


def test_a_likelihood_that_is_declared_stays() -> None:
    model = ModelSpec(likelihood=BinomialLikelihoodSpec())
    assert choose_likelihood(model, (6,), None) == (BinomialLikelihoodSpec(), "")
    assert ModelSpec().likelihood == AutoLikelihoodSpec()
