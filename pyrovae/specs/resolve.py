"""Resolution of choices that specifications leave to the data or to each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, assert_never

from pyrovae.errors import SpecError
from pyrovae.specs.inference import InferenceSpec
from pyrovae.specs.likelihoods import (
    AutoLikelihoodSpec,
    BernoulliLikelihoodSpec,
    BinomialLikelihoodSpec,
    CategoricalLikelihoodSpec,
    DirichletMultinomialLikelihoodSpec,
    DiscretizedLogisticLikelihoodSpec,
    LikelihoodSpec,
    MultinomialLikelihoodSpec,
    NegativeBinomialLikelihoodSpec,
    NormalLikelihoodSpec,
    PoissonLikelihoodSpec,
)
from pyrovae.specs.model import ModelSpec
from pyrovae.specs.networks import (
    ConvEncoderSpec,
    ConvSpec,
    EncoderSpec,
    Inputs,
    MirrorSpec,
    MLPEncoderSpec,
    MLPSpec,
    NetworkSpec,
    OwnDecoderSpec,
    ResidualEncoderSpec,
    ResidualSpec,
)


class Choice(NamedTuple):
    """A likelihood that was chosen for the data.

    Attributes:
        likelihood: Its specification.
        reason: Property of the data for which it was chosen, and the alternatives; empty if it was
            declared.
    """

    likelihood: LikelihoodSpec
    reason: str = ""


def choose_likelihood(model: ModelSpec, shape: Sequence[int], levels: float | None) -> Choice:
    """The declared likelihood, or one that suits the data if "auto" is declared.

    Bits are Bernoulli, and real values normal. Whole numbers have an upper bound in images, where
    they are grey levels, and none in tables, where they count.

    Args:
        model: As declared.
        shape: Shape of an observation.
        levels: Largest value of the training data if all are whole numbers from zero on; else
            None.
    """
    if not isinstance(model.likelihood, AutoLikelihoodSpec):
        return Choice(model.likelihood)
    if model.binarisation != "none" or levels == 1:
        return Choice(BernoulliLikelihoodSpec(), "the values are bits")
    if levels is None:
        return Choice(NormalLikelihoodSpec(), "the values are real; with outliers, laplace")
    if len(shape) == 1:
        return Choice(
            NegativeBinomialLikelihoodSpec(),
            "the columns are counts; for what their totals do not say, dirichlet_multinomial or "
            "multinomial; without overdispersion, poisson",
        )
    return Choice(
        DiscretizedLogisticLikelihoodSpec(noise="per_pixel"),
        f"the values are grey levels, 0 to {levels:g}; for few levels, categorical; for counts "
        "of trials, binomial",
    )


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
        case (
            MultinomialLikelihoodSpec(total_count="data")
            | DirichletMultinomialLikelihoodSpec(total_count="data")
        ):
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
    encoder = mirrored(model.decoder, model.likelihood)
    return inference.model_copy(update={"guide": guide.model_copy(update={"encoder": encoder})})


def mirrored(decoder: NetworkSpec, likelihood: LikelihoodSpec) -> EncoderSpec:
    """The encoder of the decoder's kind, widths reversed, with inputs that suit the data.

    The one of ``mlp`` where the decoder is of one's own.
    """
    inputs: Inputs = "log1p" if isinstance(likelihood, _COUNTS) else "scaled"
    if isinstance(decoder, OwnDecoderSpec):
        return MLPEncoderSpec(inputs=inputs)
    keys = decoder.model_dump() | {"widths": tuple(reversed(decoder.widths)), "inputs": inputs}
    match decoder:
        case MLPSpec():
            return MLPEncoderSpec(**keys)
        case ConvSpec():
            return ConvEncoderSpec(**keys)
        case ResidualSpec():
            return ResidualEncoderSpec(**keys)
        case _:
            assert_never(decoder)


_COUNTS = (
    PoissonLikelihoodSpec,
    NegativeBinomialLikelihoodSpec,
    MultinomialLikelihoodSpec,
    DirichletMultinomialLikelihoodSpec,
)
