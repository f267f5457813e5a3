"""Construction of a likelihood from its specification."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, assert_never

from pyrovae.errors import SpecError
from pyrovae.parts.likelihoods.abstract import Likelihood
from pyrovae.parts.likelihoods.bernoulli import BernoulliLikelihood
from pyrovae.parts.likelihoods.beta import BetaLikelihood
from pyrovae.parts.likelihoods.binomial import BinomialLikelihood
from pyrovae.parts.likelihoods.categorical import CategoricalLikelihood
from pyrovae.parts.likelihoods.continuous_bernoulli import ContinuousBernoulliLikelihood
from pyrovae.parts.likelihoods.dirichlet_multinomial import DirichletMultinomialLikelihood
from pyrovae.parts.likelihoods.discretized_logistic import DiscretizedLogisticLikelihood
from pyrovae.parts.likelihoods.laplace import LaplaceLikelihood
from pyrovae.parts.likelihoods.multinomial import MultinomialLikelihood
from pyrovae.parts.likelihoods.negative_binomial import NegativeBinomialLikelihood
from pyrovae.parts.likelihoods.normal import NormalLikelihood
from pyrovae.parts.likelihoods.poisson import PoissonLikelihood
from pyrovae.specs.likelihoods import (
    AutoLikelihoodSpec,
    BernoulliLikelihoodSpec,
    BetaLikelihoodSpec,
    BinomialLikelihoodSpec,
    CategoricalLikelihoodSpec,
    ContinuousBernoulliLikelihoodSpec,
    DirichletMultinomialLikelihoodSpec,
    DiscretizedLogisticLikelihoodSpec,
    LaplaceLikelihoodSpec,
    LikelihoodSpec,
    MultinomialLikelihoodSpec,
    NegativeBinomialLikelihoodSpec,
    Noise,
    NormalLikelihoodSpec,
    OwnLikelihoodSpec,
    PoissonLikelihoodSpec,
)
from pyrovae.specs.own import own_part


def build_likelihood(spec: LikelihoodSpec, shape: Sequence[int]) -> Likelihood:
    """Build p(x | z)."""
    match spec:
        case AutoLikelihoodSpec():
            raise SpecError("model.likelihood.kind = 'auto' must be resolved for the data")
        case BernoulliLikelihoodSpec():
            return BernoulliLikelihood(shape)
        case BinomialLikelihoodSpec():
            return BinomialLikelihood(shape, _resolved("total_count", spec.total_count))
        case ContinuousBernoulliLikelihoodSpec():
            return ContinuousBernoulliLikelihood(shape)
        case BetaLikelihoodSpec():
            return BetaLikelihood(shape)
        case NormalLikelihoodSpec():
            return NormalLikelihood(shape, _noise(spec.noise, shape), spec.scale)
        case LaplaceLikelihoodSpec():
            return LaplaceLikelihood(shape, _noise(spec.noise, shape), spec.scale)
        case CategoricalLikelihoodSpec():
            return CategoricalLikelihood(shape, _resolved("levels", spec.levels))
        case DiscretizedLogisticLikelihoodSpec():
            levels = _resolved("levels", spec.levels)
            return DiscretizedLogisticLikelihood(shape, levels, spec.noise, spec.scale)
        case PoissonLikelihoodSpec():
            return PoissonLikelihood(shape)
        case NegativeBinomialLikelihoodSpec():
            return NegativeBinomialLikelihood(shape)
        case MultinomialLikelihoodSpec():
            return MultinomialLikelihood(shape, _resolved("total_count", spec.total_count))
        case DirichletMultinomialLikelihoodSpec():
            total_count = _resolved("total_count", spec.total_count)
            return DirichletMultinomialLikelihood(shape, total_count)
        case OwnLikelihoodSpec():
            return own_part(spec, "model.likelihood", Likelihood, shape=tuple(shape))
        case _:
            assert_never(spec)


def _noise(noise: Noise | Literal["data"], shape: Sequence[int]) -> Noise:
    """Default kind of noise: per variable in tables, whose units differ; one number in images."""
    if noise == "data":
        return "per_variable" if len(shape) == 1 else "learned"
    return noise


def _resolved(key: str, value: int | Literal["data"]) -> int:
    if value == "data":
        raise SpecError(f"model.likelihood.{key} must be resolved to a number")
    return value
