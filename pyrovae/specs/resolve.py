"""Specifications with every choice written out that they leave to the data or to each other."""

from __future__ import annotations

from pyrovae.errors import SpecError
from pyrovae.specs.inference import InferenceSpec
from pyrovae.specs.likelihoods import BinomialLikelihoodSpec
from pyrovae.specs.model import ModelSpec
from pyrovae.specs.networks import MirrorSpec


def resolve_model(model: ModelSpec, levels: float | None) -> ModelSpec:
    """``total_count = "data"`` becomes the data's largest intensity.

    Args:
        model: As declared.
        levels: Largest intensity that the model sees; None for real-valued data.

    Raises:
        SpecError: There is no largest intensity.
    """
    likelihood = model.likelihood
    if not isinstance(likelihood, BinomialLikelihoodSpec) or likelihood.total_count != "data":
        return model
    if levels is None or levels != int(levels) or levels < 1:
        raise SpecError(
            "model.likelihood 'binomial' needs counts, and the data are real-valued: choose "
            "model.likelihood.kind 'normal'"
        )
    counted = likelihood.model_copy(update={"total_count": int(levels)})
    return model.model_copy(update={"likelihood": counted})


def resolve_inference(inference: InferenceSpec, model: ModelSpec) -> InferenceSpec:
    """An encoder that mirrors the decoder becomes the network that it stands for."""
    guide = inference.guide
    if not isinstance(guide.encoder, MirrorSpec):
        return inference
    widths = tuple(reversed(model.decoder.widths))
    encoder = model.decoder.model_copy(update={"widths": widths})
    return inference.model_copy(update={"guide": guide.model_copy(update={"encoder": encoder})})
