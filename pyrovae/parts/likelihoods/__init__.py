"""Likelihoods p(x | z)."""

from pyrovae.parts.likelihoods.abstract import Likelihood as Likelihood
from pyrovae.parts.likelihoods.bernoulli import BernoulliLikelihood as BernoulliLikelihood
from pyrovae.parts.likelihoods.beta import BetaLikelihood as BetaLikelihood
from pyrovae.parts.likelihoods.binomial import BinomialLikelihood as BinomialLikelihood
from pyrovae.parts.likelihoods.categorical import CategoricalLikelihood as CategoricalLikelihood
from pyrovae.parts.likelihoods.continuous_bernoulli import (
    ContinuousBernoulliLikelihood as ContinuousBernoulliLikelihood,
)
from pyrovae.parts.likelihoods.dirichlet_multinomial import (
    DirichletMultinomialLikelihood as DirichletMultinomialLikelihood,
)
from pyrovae.parts.likelihoods.discretized_logistic import (
    DiscretizedLogisticLikelihood as DiscretizedLogisticLikelihood,
)
from pyrovae.parts.likelihoods.laplace import LaplaceLikelihood as LaplaceLikelihood
from pyrovae.parts.likelihoods.multinomial import MultinomialLikelihood as MultinomialLikelihood
from pyrovae.parts.likelihoods.negative_binomial import (
    NegativeBinomialLikelihood as NegativeBinomialLikelihood,
)
from pyrovae.parts.likelihoods.normal import NormalLikelihood as NormalLikelihood
from pyrovae.parts.likelihoods.poisson import PoissonLikelihood as PoissonLikelihood
