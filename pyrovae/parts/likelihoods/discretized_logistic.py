"""Discretized logistic likelihood for grey levels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import pyro.distributions as dist
import torch
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor
from torch.distributions import constraints
from torch.nn.functional import logsigmoid

from pyrovae.parts.likelihoods.grey_levels import mean_level, variance_of_level
from pyrovae.parts.likelihoods.location_scale import LocationScaleLikelihood
from pyrovae.specs.likelihoods import Scale


class DiscretizedLogistic(dist.TorchDistribution):
    r"""A logistic variable rounded to the nearest of the levels 0, 1, ..., N.

    With :math:`a` and :math:`b` the lower and upper edge of the bin of x, in units of the scale
    from the location,

    .. math::
        P(x) = \sigma(b) - \sigma(a) = \sigma(b) \, \sigma(-a) \, (1 - e^{a - b}),
        \qquad a = \frac{x - \frac12 - \mu}{s}, \; b = \frac{x + \frac12 - \mu}{s},

    whose logarithm is a sum of three that are finite however far the tail. The outer bins are
    open: :math:`a = -\infty` at 0 and :math:`b = \infty` at N.

    Args:
        loc: :math:`\mu`, in levels.
        scale: :math:`s`, in levels.
        levels: N.
    """

    def __init__(
        self, loc: Tensor, scale: Tensor, levels: int, validate_args: bool | None = None
    ) -> None:
        self.loc, self.scale = torch.broadcast_tensors(loc, scale)
        self.levels = levels
        super().__init__(self.loc.shape, validate_args=validate_args)

    @property
    def arg_constraints(self) -> dict[str, constraints.Constraint]:
        """Any location, a positive scale."""
        return {"loc": constraints.real, "scale": constraints.positive}

    @property
    def support(self) -> constraints.Constraint:
        """Whole numbers from 0 to N."""
        return constraints.integer_interval(0, self.levels)

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> DiscretizedLogistic:
        """The same distribution with a larger batch."""
        new: Any = self._get_checked_instance(DiscretizedLogistic, _instance)
        shape = torch.Size(batch_shape)
        new.levels = self.levels
        new.loc, new.scale = self.loc.expand(shape), self.scale.expand(shape)
        super(DiscretizedLogistic, new).__init__(shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def log_prob(self, value: Tensor) -> Tensor:
        """The logarithm of a bin's mass, in nats."""
        if self._validate_args:
            self._validate_sample(value)
        below = logsigmoid((value + 0.5 - self.loc) / self.scale)
        above = logsigmoid((self.loc - (value - 0.5)) / self.scale)
        width = torch.log(-torch.expm1(-1 / self.scale))
        first, last = value <= 0, value >= self.levels
        log_prob = below.masked_fill(last, 0.0) + above.masked_fill(first, 0.0)
        return log_prob + width.expand_as(log_prob).masked_fill(first | last, 0.0)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Levels of the type of the location."""
        with torch.no_grad():
            draws = dist.Logistic(self.loc, self.scale).sample(torch.Size(sample_shape))
            return draws.round().clamp(0, self.levels)

    @property
    def probs(self) -> Tensor:
        """Probability of each level, ``(*batch, levels + 1)``."""
        levels = torch.arange(self.levels + 1, dtype=self.loc.dtype, device=self.loc.device)
        column = levels.reshape(-1, *(1 for _ in self.batch_shape))
        return self.log_prob(column).exp().movedim(0, -1)

    @property
    def mean(self) -> Tensor:
        """Mean level."""
        return mean_level(self.probs)

    @property
    def variance(self) -> Tensor:
        """Variance of the level."""
        return variance_of_level(self.probs)


class DiscretizedLogisticLikelihood(LocationScaleLikelihood):
    r"""Independent grey levels around the decoder's output.

    .. math::
        p(x \mid z) = \prod_i
            \operatorname{DiscretizedLogistic}(x_i \mid m + s f_i(z), \sigma_i; N)

    Neighbouring levels have similar mass; the lowest and the highest level have the mass of the
    tails. Networks compute in units of the data
    (:class:`~pyrovae.parts.likelihoods.location_scale.LocationScaleLikelihood`), and by default
    noise starts at their scale: where it is much larger, as a tenth of :math:`N` is for pictures
    of little contrast, the posterior collapses before it has fallen.

    Args:
        shape: Shape of one observation.
        levels: :math:`N`, the largest intensity.
        noise: Source of :math:`\sigma`: one "learned" number for all values, or "per_pixel" from
            the decoder, :math:`\sigma_i(z)`.
        scale: Initial :math:`\sigma`, in units of :math:`N`; "data" for the scale of the data.

    References:
        Kingma et al. (2016), *Improving Variational Inference with Inverse Autoregressive Flow*,
        arXiv:1606.04934; Salimans et al. (2017), *PixelCNN++*, arXiv:1701.05517, section 2.1,
        here with one logistic.
    """

    family = "DiscretizedLogistic"

    def __init__(
        self,
        shape: Sequence[int],
        levels: int,
        noise: Literal["learned", "per_pixel"] = "learned",
        scale: Scale = 0.1,
    ) -> None:
        super().__init__(shape, noise, scale)
        self.levels = levels
        self.unit = float(levels)
        self.formula = f"{self.formula} on 0..{levels}"
        self.advice = (
            f"whole numbers from 0 to {levels}: set model.likelihood.levels to the largest "
            "intensity, or choose model.likelihood.kind 'normal'"
        )

    def density(self, loc: Tensor, scale: Tensor) -> TorchDistributionMixin:
        """The logistic of the levels."""
        return DiscretizedLogistic(loc, scale, self.levels)
