"""Likelihoods p(x | z)."""

from pyrovae.likelihoods.abstract import Likelihood as Likelihood
from pyrovae.likelihoods.bernoulli import BernoulliLikelihood as BernoulliLikelihood
from pyrovae.likelihoods.binomial import BinomialLikelihood as BinomialLikelihood
from pyrovae.likelihoods.normal import NormalLikelihood as NormalLikelihood
