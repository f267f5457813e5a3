"""From the specification of a likelihood to the part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from pyrovae.errors import SpecError
from pyrovae.likelihoods.abstract import Likelihood
from pyrovae.likelihoods.bernoulli import BernoulliLikelihood
from pyrovae.likelihoods.binomial import BinomialLikelihood
from pyrovae.likelihoods.normal import NormalLikelihood
from pyrovae.specs.likelihoods import (
    BernoulliLikelihoodSpec,
    BinomialLikelihoodSpec,
    LikelihoodSpec,
    NormalLikelihoodSpec,
)


def build_likelihood(spec: LikelihoodSpec, shape: Sequence[int]) -> Likelihood:
    """p(x | z), given the decoder's outputs."""
    match spec:
        case BernoulliLikelihoodSpec():
            return BernoulliLikelihood(shape)
        case BinomialLikelihoodSpec():
            if spec.total_count == "data":
                raise SpecError("model.likelihood.total_count must be resolved to a number")
            return BinomialLikelihood(shape, spec.total_count)
        case NormalLikelihoodSpec():
            return NormalLikelihood(shape, spec.noise, spec.scale)
        case _:
            assert_never(spec)
