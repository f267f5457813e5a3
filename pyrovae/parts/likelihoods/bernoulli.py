"""Bernoulli likelihood for binary data."""

from __future__ import annotations

from collections.abc import Sequence

import pyro.distributions as dist
from jaxtyping import Float
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor

from pyrovae.parts.likelihoods.abstract import Likelihood
from pyrovae.parts.likelihoods.starting_means import inside_unit


class BernoulliLikelihood(Likelihood):
    r"""Independent binary values; the decoder gives logits.

    .. math::
        p(x \mid z) = \prod_i \operatorname{Bernoulli}(x_i \mid \operatorname{sigmoid} f_i(z))

    Args:
        shape: Shape of one observation.

    References:
        Kingma and Welling (2014), *Auto-Encoding Variational Bayes*, arXiv:1312.6114,
        appendix C.1.
    """

    formula = "Bernoulli(logits(z))"
    advice = (
        "values 0 and 1 only: set model.binarisation to 'dynamic', 'static' or 'threshold', "
        "or choose model.likelihood.kind 'binomial' or 'normal'"
    )

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.event_dim = len(shape)

    def forward(self, outputs: Float[Tensor, " ..."]) -> TorchDistributionMixin:
        """p(x | z) from logits ``(*batch, 1, *shape)``."""
        return dist.Bernoulli(logits=outputs.squeeze(-1 - self.event_dim)).to_event(self.event_dim)

    def outputs_at(self, mean: Float[Tensor, " ..."]) -> Float[Tensor, "outputs ..."]:
        """The logit of the mean."""
        return inside_unit(mean).logit().unsqueeze(0)
