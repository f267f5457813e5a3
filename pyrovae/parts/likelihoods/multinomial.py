"""Multinomial likelihood for rows of counts, such as bags of words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyro.distributions as dist
import torch
from jaxtyping import Float
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor
from torch.distributions import constraints

from pyrovae.errors import SpecError
from pyrovae.parts.likelihoods.abstract import Likelihood
from pyrovae.parts.likelihoods.double_precision import in_float64
from pyrovae.parts.likelihoods.starting_means import above_zero


class CountsGivenTotal(dist.TorchDistribution):
    r"""Multinomial density of counts given their own total; draws have a total of their own.

    .. math::
        \log p(x \mid n) = \log n! - \sum_v \log x_v! + \sum_v x_v \log \pi_v,
        \qquad n = \sum_v x_v

    Torch's ``Multinomial`` has this density too, but its support ends at the total of its
    draws, and it copies that number to a GPU at every step.

    Args:
        total_count: Total of draws and of the mean.
        logits: :math:`\log \pi` but for a constant, ``(*batch, values)``.
    """

    def __init__(
        self, total_count: int, logits: Tensor, validate_args: bool | None = None
    ) -> None:
        self.total_count = total_count
        self.logits = logits  # normalised in float64: a total of 1e7 multiplies what float32 loses
        super().__init__(logits.shape[:-1], logits.shape[-1:], validate_args=validate_args)

    @property
    def arg_constraints(self) -> dict[str, constraints.Constraint]:
        """Any logits."""
        return {"logits": constraints.real_vector}

    @property
    def support(self) -> constraints.Constraint:
        """Rows of whole numbers from 0 on, whatever their total."""
        return constraints.independent(constraints.nonnegative_integer, 1)

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> CountsGivenTotal:
        """The same distribution with a larger batch."""
        new: Any = self._get_checked_instance(CountsGivenTotal, _instance)
        shape = torch.Size(batch_shape)
        new.total_count = self.total_count
        new.logits = self.logits.expand(shape + self.event_shape)
        super(CountsGivenTotal, new).__init__(shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density in nats given the total of ``value``, which may be zero."""
        if self._validate_args:
            self._validate_sample(value)
        return in_float64(log_multinomial, value, self.logits)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Counts with the total ``total_count``, of the type of the logits."""
        whole = dist.Multinomial(self.total_count, logits=self.logits)
        return whole.sample(torch.Size(sample_shape))

    def sample_given(self, totals: Tensor) -> Tensor:
        """Counts with these totals, ``(*batch,)``, of the type of the logits."""
        most = int(totals.max())
        words = dist.Categorical(logits=self.logits).sample((most,)).movedim(0, -1)
        counted = torch.arange(most, device=totals.device) < totals.unsqueeze(-1)
        counted = counted.expand(words.shape).to(self.logits)
        return torch.zeros_like(self.logits).scatter_add_(-1, words, counted)

    @property
    def mean(self) -> Tensor:
        """Mean counts among ``total_count``."""
        return self.total_count * self.logits.softmax(-1)

    @property
    def variance(self) -> Tensor:
        """Variance of each count among ``total_count``."""
        return -self.mean * torch.expm1(self.logits.log_softmax(-1))


def log_multinomial(x: Tensor, logits: Tensor) -> Tensor:
    """Log-density of counts given their total."""
    coefficient = torch.lgamma(x.sum(-1) + 1) - torch.lgamma(x + 1).sum(-1)
    return coefficient + (x * logits.log_softmax(-1)).sum(-1)


def require_rows(kind: str, shape: Sequence[int]) -> None:
    """Refuse observations that are not rows.

    Raises:
        SpecError: Observations are not rows.
    """
    if len(shape) != 1:
        raise SpecError(
            f"model.likelihood.kind = '{kind}' needs rows of counts, of shape (columns,), "
            f"and the data have shape {tuple(shape)}: choose 'poisson' or 'binomial'"
        )


class MultinomialLikelihood(Likelihood):
    r"""A row of counts given their total; the decoder gives logits.

    .. math::
        p(x \mid z) = \frac{n!}{\prod_v x_v!} \prod_v \pi_v(z)^{x_v}, \qquad
        \pi(z) = \operatorname{softmax} f(z), \; n = \sum_v x_v

    For bags of words: x counts how often each word of a vocabulary stands in a document. The
    total n is taken as given, so documents of all lengths have densities, and one
    without words has density 1. The references leave out the coefficient, which no parameter
    changes; it is here so that the bound is one on a probability.

    Args:
        shape: ``(values,)``.
        total_count: Words in samples and means; no density depends on it.

    Raises:
        SpecError: Observations are not rows.

    References:
        Miao, Yu and Blunsom (2016), *Neural Variational Inference for Text Processing*,
        arXiv:1511.06038; Liang et al. (2018), *Variational Autoencoders for Collaborative
        Filtering*, arXiv:1802.05814.
    """

    advice = (
        "rows of whole numbers from 0 on: choose model.likelihood.kind 'normal' for real-valued "
        "data"
    )

    def __init__(self, shape: Sequence[int], total_count: int) -> None:
        super().__init__()
        require_rows("multinomial", shape)
        self.total_count = total_count
        self.formula = f"Multinomial(total of x, softmax(z)), {total_count} in samples"

    def forward(self, outputs: Float[Tensor, " ..."]) -> TorchDistributionMixin:
        """p(x | z) from logits ``(*batch, 1, values)``."""
        return CountsGivenTotal(self.total_count, outputs.squeeze(-2))

    def outputs_at(self, mean: Float[Tensor, " ..."]) -> Float[Tensor, "outputs ..."]:
        """Logits of the shares in the mean; its total becomes ``total_count``."""
        return above_zero(mean).log().unsqueeze(0)
