"""Resolution of choices that specifications leave to the data or to each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyrovae.errors import SpecError
from pyrovae.specs.inference import InferenceSpec
from pyrovae.specs.likelihoods import (
    BinomialLikelihoodSpec,
    CategoricalLikelihoodSpec,
    DiscretizedLogisticLikelihoodSpec,
    LikelihoodSpec,
    MultinomialLikelihoodSpec,
)
from pyrovae.specs.model import ModelSpec
from pyrovae.specs.networks import MirrorSpec


def resolve_model(
    model: ModelSpec, levels: float | None, mean_total: Callable[[], float]
) -> ModelSpec:
    """Replace numbers of the likelihood that are "data" by those of the data.

    Args:
        model: As declared.
        levels: Largest intensity that the model sees; None for real-valued data.
        mean_total: The mean over the training data of the sum over an observation; called
            only where it is needed, since it takes a pass over the data.

    Raises:
        SpecError: There is no largest intensity.
    """
    update: dict[str, Any]
    match model.likelihood:
        case BinomialLikelihoodSpec(total_count="data"):
            update = {"total_count": _largest(model.likelihood, levels)}
        case (
            CategoricalLikelihoodSpec(levels="data")
            | DiscretizedLogisticLikelihoodSpec(levels="data")
        ):
            update = {"levels": _largest(model.likelihood, levels)}
        case MultinomialLikelihoodSpec(total_count="data"):
            update = {"total_count": max(1, round(mean_total()))}
        case _:
            return model
    return model.model_copy(update={"likelihood": model.likelihood.model_copy(update=update)})


def _largest(likelihood: LikelihoodSpec, levels: float | None) -> int:
    """The largest intensity as a count."""
    if levels is None or levels != int(levels) or levels < 1:
        raise SpecError(
            f"model.likelihood '{likelihood.kind}' needs counts, and the data are real-valued: "
            "choose model.likelihood.kind 'normal'"
        )
    return int(levels)


def resolve_inference(inference: InferenceSpec, model: ModelSpec) -> InferenceSpec:
    """Replace an encoder that mirrors the decoder by the network that it stands for."""
    guide = inference.guide
    if not isinstance(guide.encoder, MirrorSpec):
        return inference
    widths = tuple(reversed(model.decoder.widths))
    encoder = model.decoder.model_copy(update={"widths": widths})
    return inference.model_copy(update={"guide": guide.model_copy(update={"encoder": encoder})})
