"""Continuous Bernoulli likelihood for values between 0 and 1."""

from __future__ import annotations

from collections.abc import Sequence

import pyro.distributions as dist
from jaxtyping import Float
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor

from pyrovae.likelihoods.abstract import Likelihood
from pyrovae.likelihoods.starting import inside_unit

LARGEST_LOGIT = 15.9
"""Up to here torch does not clip in float32: the logit of 1 minus a rounding error is 15.94."""

NEAR_HALF = (0.45, 0.55)
"""Where torch takes the series of C instead of a difference of large numbers.

Its own interval ends so close to a half that in float32 the mean errs by 0.003 at its ends, and
so does the gradient; the series errs by 1e-7 at these.
"""


class ContinuousBernoulliLikelihood(Likelihood):
    r"""Independent values in [0, 1]: the Bernoulli formula with the constant that it lacks there.

    .. math::
        p(x \mid z) = \prod_i C(\lambda_i) \, \lambda_i^{x_i} (1 - \lambda_i)^{1 - x_i}, \qquad
        \lambda_i = \operatorname{sigmoid} f_i(z)

    The decoder gives the logit of :math:`\lambda`, which is not the mean. Torch keeps
    :math:`\lambda` a rounding error away from 0 and 1 in :math:`C`, where the density at
    exactly 0 or 1 would grow without end. So in float32, beyond :math:`|f| \approx 16`,
    :math:`C` stays what it is and the density integrates to less than one (the bound stays a
    bound), and means lie between 0.06 and 0.94.

    Args:
        shape: Shape of one observation.

    References:
        Loaiza-Ganem and Cunningham (2019), *The continuous Bernoulli: fixing a pervasive error
        in variational autoencoders*, arXiv:1907.06845.
    """

    formula = "ContinuousBernoulli(logits(z))"
    advice = (
        "values from 0 to 1 only: divide the data by their largest value, or choose "
        "model.likelihood.kind 'normal'"
    )

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.event_dim = len(shape)

    def forward(self, outputs: Float[Tensor, " ..."]) -> TorchDistributionMixin:
        """p(x | z) from logits ``(*batch, 1, *shape)``."""
        logits = outputs.squeeze(-1 - self.event_dim)
        density = dist.ContinuousBernoulli(logits=logits, lims=NEAR_HALF)
        return density.to_event(self.event_dim)

    def outputs_at(self, mean: Float[Tensor, " ..."]) -> Float[Tensor, "outputs ..."]:
        r"""Outputs at which the mean is this one but for 0.01, if it can be had at all.

        With :math:`y = 2 m - 1` the mean :math:`m` is at twice the inverse of Langevin's
        function, :math:`\coth f - 1 / f`, of which this is the rounded Padé approximant

        .. math::
            f = 2 y \, \frac{3 - y^2}{1 - y^2},

        no further out than where the density integrates to one.

        References:
            Cohen (1991), *A Padé approximant to the inverse Langevin function*,
            doi:10.1007/BF00366640.
        """
        y = 2 * inside_unit(mean) - 1
        logits = 2 * y * (3 - y.square()) / (1 - y.square())
        return logits.clamp(-LARGEST_LOGIT, LARGEST_LOGIT).unsqueeze(0)
