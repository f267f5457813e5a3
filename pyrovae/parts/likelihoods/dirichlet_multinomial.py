"""Dirichlet-multinomial likelihood for rows of counts that vary more than a multinomial."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pyro.distributions as dist
import torch
from jaxtyping import Float
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor, nn
from torch.distributions import constraints

from pyrovae.parts.likelihoods.abstract import Likelihood
from pyrovae.parts.likelihoods.double_precision import in_float64
from pyrovae.parts.likelihoods.multinomial import CountsGivenTotal, log_multinomial, require_rows
from pyrovae.parts.likelihoods.rising_factorial import log_relative_rising
from pyrovae.parts.likelihoods.starting_means import above_zero


class OverdispersedCountsGivenTotal(CountsGivenTotal):
    r"""Dirichlet-multinomial density of counts given their own total.

    .. math::
        \log p(x \mid n) = \log n! - \sum_v \log x_v!
        + \sum_v \log \frac{\Gamma(\alpha_v + x_v)}{\Gamma(\alpha_v)}
        - \log \frac{\Gamma(\alpha_0 + n)}{\Gamma(\alpha_0)},
        \qquad \alpha = \alpha_0 \operatorname{softmax} f, \; n = \sum_v x_v

    The density is that of Pyro's ``DirichletMultinomial``, whose support ends at the total of
    its draws, and whose differences of log-gammas lose their digits in single precision.

    Args:
        total_count: Total of draws and of the mean.
        logits: :math:`f`, ``(*batch, values)``.
        log_concentration: :math:`\log \alpha_0`, a number.
    """

    def __init__(
        self,
        total_count: int,
        logits: Tensor,
        log_concentration: Tensor,
        validate_args: bool | None = None,
    ) -> None:
        self.log_concentration = log_concentration
        super().__init__(total_count, logits, validate_args)

    @property
    def arg_constraints(self) -> dict[str, constraints.Constraint]:
        """Any real numbers."""
        return {"logits": constraints.real_vector, "log_concentration": constraints.real}

    def expand(
        self, batch_shape: Sequence[int], _instance: Any = None
    ) -> OverdispersedCountsGivenTotal:
        """The same distribution with a larger batch."""
        new: Any = self._get_checked_instance(OverdispersedCountsGivenTotal, _instance)
        new.log_concentration = self.log_concentration
        super().expand(batch_shape, new)
        return new

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density in nats given the total of ``value``, which may be zero."""
        if self._validate_args:
            self._validate_sample(value)
        return in_float64(_log_dirichlet_multinomial, value, self.logits, self.log_concentration)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Counts with the total ``total_count``, of the type of the logits."""
        return CountsGivenTotal(self.total_count, self._shares(sample_shape)).sample()

    def sample_given(self, totals: Tensor) -> Tensor:
        """Counts with these totals, ``(*batch,)``, of the type of the logits."""
        return CountsGivenTotal(self.total_count, self._shares()).sample_given(totals)

    @property
    def variance(self) -> Tensor:
        """Variance of each count among ``total_count``."""
        # (n + α₀) / (1 + α₀), which no α₀ makes infinite
        more = 1 + (self.total_count - 1) * torch.sigmoid(-self.log_concentration)
        return super().variance * more

    @torch.no_grad()
    def _shares(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Logits of a draw from the Dirichlet distribution.

        A Gamma draw of a small shape is zero in any precision, and its logarithm, by that of a
        Gamma draw of one more, is not.
        """
        log_alpha = self.log_concentration.double() + self.logits.double().log_softmax(-1)
        alpha = log_alpha.expand(*sample_shape, *log_alpha.shape).exp()
        tiny = torch.finfo(alpha.dtype).tiny
        log_gamma = dist.Gamma(alpha + 1, torch.ones_like(alpha)).sample().log()
        log_uniform = torch.rand_like(alpha).clamp(min=tiny).log()
        logits = log_gamma + log_uniform / alpha.clamp(min=tiny)
        return (logits - logits.amax(-1, keepdim=True)).clamp(min=-1e4).to(self.logits)


def _log_dirichlet_multinomial(x: Tensor, logits: Tensor, log_concentration: Tensor) -> Tensor:
    """The multinomial density, and what it differs by, which vanishes at infinity."""
    log_alpha = log_concentration + logits.log_softmax(-1)
    each = log_relative_rising(x, log_alpha.exp(), log_alpha).sum(-1)
    whole = log_relative_rising(x.sum(-1), log_concentration.exp(), log_concentration)
    return log_multinomial(x, logits) + each - whole


class DirichletMultinomialLikelihood(Likelihood):
    r"""A row of counts given their total, whose shares vary around those of the decoder.

    .. math::
        p(x \mid z) = \int \operatorname{Multinomial}(x \mid n, \pi)
        \operatorname{Dirichlet}(\pi \mid \alpha_0 \operatorname{softmax} f(z)) \, d\pi,
        \qquad n = \sum_v x_v

    For counts of cells, which vary more than a multinomial at the same z: each variance is
    :math:`(n + \alpha_0) / (1 + \alpha_0)` times as large. The concentration :math:`\alpha_0` is
    one learned number; as it grows, the density becomes the multinomial. It starts at the
    number of values. These are also independent negative binomial counts with inverse
    dispersions :math:`\alpha` and one ratio of mean to dispersion, given their total.

    Args:
        shape: ``(values,)``.
        total_count: Total of samples and means; no density depends on it.

    Raises:
        SpecError: Observations are not rows.

    References:
        Mosimann (1962), *On the Compound Multinomial Distribution*, doi:10.2307/2333468.
    """

    advice = (
        "rows of whole numbers from 0 on: choose model.likelihood.kind 'normal' for real-valued "
        "data"
    )

    def __init__(self, shape: Sequence[int], total_count: int) -> None:
        super().__init__()
        require_rows("dirichlet_multinomial", shape)
        self.total_count = total_count
        self.log_concentration = nn.Parameter(torch.tensor(math.log(shape[0])))
        self.formula = (
            "DirichletMultinomial(total of x, one learned concentration · softmax(z)), "
            f"{total_count} in samples"
        )

    def forward(self, outputs: Float[Tensor, " ..."]) -> TorchDistributionMixin:
        """p(x | z) from logits ``(*batch, 1, values)``."""
        logits = outputs.squeeze(-2)
        return OverdispersedCountsGivenTotal(self.total_count, logits, self.log_concentration)

    def outputs_at(self, mean: Float[Tensor, " ..."]) -> Float[Tensor, "outputs ..."]:
        """Logits of the shares in the mean; its total becomes ``total_count``."""
        return above_zero(mean).log().unsqueeze(0)
