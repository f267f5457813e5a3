"""Likelihoods p(x | z)."""

from pyrovae.likelihoods.abstract import Likelihood as Likelihood
from pyrovae.likelihoods.bernoulli import BernoulliLikelihood as BernoulliLikelihood
from pyrovae.likelihoods.beta import BetaLikelihood as BetaLikelihood
from pyrovae.likelihoods.binomial import BinomialLikelihood as BinomialLikelihood
from pyrovae.likelihoods.categorical import CategoricalLikelihood as CategoricalLikelihood
from pyrovae.likelihoods.continuous_bernoulli import (
    ContinuousBernoulliLikelihood as ContinuousBernoulliLikelihood,
)
from pyrovae.likelihoods.discretized_logistic import (
    DiscretizedLogisticLikelihood as DiscretizedLogisticLikelihood,
)
from pyrovae.likelihoods.laplace import LaplaceLikelihood as LaplaceLikelihood
from pyrovae.likelihoods.multinomial import MultinomialLikelihood as MultinomialLikelihood
from pyrovae.likelihoods.negative_binomial import (
    NegativeBinomialLikelihood as NegativeBinomialLikelihood,
)
from pyrovae.likelihoods.normal import NormalLikelihood as NormalLikelihood
from pyrovae.likelihoods.poisson import PoissonLikelihood as PoissonLikelihood
