"""What a refinement takes from the autoencoder that it starts at."""

from __future__ import annotations

from typing import Any

import pytest

from pyrovae import InferenceSpec, ModelSpec
from pyrovae.errors import SpecError
from pyrovae.programs.autoencoder import Declaration
from pyrovae.specs.networks import MLPEncoderSpec
from pyrovae.training.refinement import frozen, guide_for, proposed, refinable, to_measure

ENCODER = MLPEncoderSpec(widths=(5,))


def declaration(guide: str = "diagonal", prior: str = "normal") -> Declaration:
    inference = InferenceSpec(guide={"kind": guide, "encoder": ENCODER})
    return Declaration(ModelSpec(prior={"kind": prior}), inference, (8,), 1.0)


def test_the_encoder_is_that_of_the_run_unless_another_is_declared() -> None:
    assert frozen(InferenceSpec(), declaration()).guide.encoder == ENCODER
    other = MLPEncoderSpec(widths=(7,))
    own = InferenceSpec(guide={"kind": "iaf", "encoder": other})
    assert frozen(own, declaration()).guide.encoder == other
    assert proposed(declaration()).guide.encoder == ENCODER


def test_the_model_is_frozen_and_draws_are_there() -> None:
    plain = frozen(InferenceSpec(), None)
    assert (plain.frozen, plain.simulated is None) == ("model", False)
    wanted = InferenceSpec(simulated={"share": 0.1, "loss": "objective"})
    assert frozen(wanted, None).simulated == wanted.simulated


@pytest.mark.parametrize(
    ("guide", "refined"),
    [
        ("delta", "full_rank"),
        ("diagonal", "full_rank"),
        ("low_rank", "full_rank"),
        ("full_rank", "full_rank"),
        ("mixture", "mixture"),
        ("spline", "spline"),
        ("iaf", "iaf"),
    ],
)
def test_a_guide_is_never_refined_to_a_poorer_one(guide: str, refined: str) -> None:
    assert guide_for(declaration(guide)).kind == refined


def test_a_vamp_prior_needs_a_diagonal_guide() -> None:
    model: Any = refinable(declaration(prior="vamp"))
    assert (model.prior.kind, model.prior.components) == ("mixture", 100)
    with pytest.raises(SpecError, match="only where that is diagonal"):
        refinable(declaration("full_rank", "vamp"))


def test_a_measurement_has_steps_enough_to_be_captured() -> None:
    for data in (10, 1000, 50_000):
        spec = to_measure(InferenceSpec(), data)
        steps = spec.epochs * -(-data // spec.batch_size)
        assert 2000 <= steps < 5000
