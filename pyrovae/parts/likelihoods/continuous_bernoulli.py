"""Continuous Bernoulli likelihood for values between 0 and 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyro.distributions as dist
import torch
from jaxtyping import Float
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor
from torch.distributions import constraints

from pyrovae.parts.likelihoods.abstract import Likelihood
from pyrovae.parts.likelihoods.double_precision import in_float64
from pyrovae.parts.likelihoods.starting_means import inside_unit

NEAR_ZERO = 0.25
"""Logits up to here use a series, exact to 1e-12; larger ones use differences of reciprocals."""


class ContinuousBernoulli(dist.TorchDistribution):
    r"""Continuous Bernoulli by its logit, of any size.

    .. math::
        p(x) = \frac{f e^{f x}}{e^f - 1} = \frac{|f| \, e^{-|f| y}}{1 - e^{-|f|}}, \qquad
        y = \begin{cases} x & f \le 0 \\ 1 - x & f > 0 \end{cases}

    An exponential density of rate :math:`|f|` cut off at 1, in the distance y from the end that
    the logit points to. Torch's keeps :math:`\operatorname{sigmoid} f` a rounding error away
    from 0 and 1, so that in float32 it integrates to less than one beyond :math:`|f| = 15`.

    Args:
        logits: :math:`f`, ``(*batch,)``.
    """

    has_rsample = True

    def __init__(self, logits: Tensor, validate_args: bool | None = None) -> None:
        self.logits = logits
        super().__init__(logits.shape, validate_args=validate_args)

    @property
    def support(self) -> constraints.Constraint:
        """The closed unit interval."""
        return constraints.unit_interval

    @property
    def arg_constraints(self) -> dict[str, constraints.Constraint]:
        """Any logits."""
        return {"logits": constraints.real}

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> ContinuousBernoulli:
        """The same distribution with a larger batch."""
        new: Any = self._get_checked_instance(ContinuousBernoulli, _instance)
        shape = torch.Size(batch_shape)
        new.logits = self.logits.expand(shape)
        super(ContinuousBernoulli, new).__init__(shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density in nats."""
        if self._validate_args:
            self._validate_sample(value)
        near_zero, small, rate = _split(self.logits)
        s = small.square()
        even = s * _series(s, 1 / 24, -1 / 2880, 1 / 181440, -1 / 9676800)
        end = (self.logits > 0).to(value.dtype)
        far = self.logits * (value - end) + torch.log(rate / -torch.expm1(-rate))
        return torch.where(near_zero, small * (value - 0.5) - even, far)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draws by the inverse of the distribution function."""
        shape = self._extended_shape(torch.Size(sample_shape))
        uniform = torch.rand(shape, dtype=self.logits.dtype, device=self.logits.device)
        return in_float64(_quantile, uniform, self.logits)

    @property
    def mean(self) -> Tensor:
        """Mean, between 0 and 1."""
        near_zero, small, rate = _split(self.logits)
        odd = small * _series(small.square(), 1 / 12, -1 / 720, 1 / 30240, -1 / 1209600)
        distance = 1 / rate + torch.exp(-rate) / torch.expm1(-rate)
        return torch.where(near_zero, 0.5 + odd, _from_its_end(distance, self.logits))

    @property
    def variance(self) -> Tensor:
        """Variance, at most 1/12."""
        near_zero, small, rate = _split(self.logits)
        near = _series(small.square(), 1 / 12, -1 / 240, 1 / 6048, -1 / 172800)
        far = 1 / rate.square() - torch.exp(-rate) / torch.expm1(-rate).square()
        return torch.where(near_zero, near, far)


def _split(f: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Split logits: mask of those near zero, these (else 0), size of the others (else 1)."""
    near_zero = f.abs() < NEAR_ZERO
    return near_zero, f.masked_fill(~near_zero, 0.0), f.abs().masked_fill(near_zero, 1.0)


def _series(s: Tensor, *coefficients: float) -> Tensor:
    """The polynomial in s with these coefficients, the constant first."""
    total = torch.zeros_like(s)
    for coefficient in reversed(coefficients):
        total = total * s + coefficient
    return total


def _from_its_end(distance: Tensor, f: Tensor) -> Tensor:
    """Position in [0, 1] at a distance from the end that the logit points to."""
    return torch.where(f > 0, 1 - distance, distance)


def _quantile(uniform: Tensor, f: Tensor) -> Tensor:
    rate = f.abs().clamp(min=1e-9)  # where the quantile is the probability, to as many digits
    distance = -torch.log1p(_from_its_end(uniform, f) * torch.expm1(-rate)) / rate
    return _from_its_end(distance, f)


class ContinuousBernoulliLikelihood(Likelihood):
    r"""Independent values in [0, 1]: the Bernoulli formula with its normalising constant.

    .. math::
        p(x \mid z) = \prod_i C(\lambda_i) \, \lambda_i^{x_i} (1 - \lambda_i)^{1 - x_i}, \qquad
        \lambda_i = \operatorname{sigmoid} f_i(z)

    The decoder gives the logit of :math:`\lambda`, which is not the mean. The density at exactly 0
    or 1 grows with the logit without end, as a normal's does with its precision: a pixel that is
    always black gains nats for as long as training goes on.

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
        return ContinuousBernoulli(logits).to_event(self.event_dim)

    def outputs_at(self, mean: Float[Tensor, " ..."]) -> Float[Tensor, "outputs ..."]:
        r"""Outputs at which the mean is this one but for 0.01.

        With :math:`y = 2 m - 1` the mean :math:`m` is at twice the inverse of Langevin's
        function, :math:`\coth f - 1 / f`, of which this is the rounded Padé approximant

        .. math::
            f = 2 y \, \frac{3 - y^2}{1 - y^2}.

        References:
            Cohen (1991), *A Padé approximant to the inverse Langevin function*,
            doi:10.1007/BF00366640.
        """
        y = 2 * inside_unit(mean) - 1
        logits = 2 * y * (3 - y.square()) / (1 - y.square())
        return logits.unsqueeze(0)
