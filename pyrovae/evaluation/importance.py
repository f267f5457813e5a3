"""Draws from the guide with importance weights, for all observations."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from pyrovae.compute import chunks
from pyrovae.compute.distributed import ALONE, Processes
from pyrovae.compute.modes import evaluating
from pyrovae.data import Batch
from pyrovae.errors import DataError, SpecError
from pyrovae.evaluation.local import Draws, LocalPosterior
from pyrovae.evaluation.sharing import shared
from pyrovae.programs.autoencoder import Autoencoder


class Bounds(NamedTuple):
    """Bounds per observation, in nats, float64 ``(data,)``.

    Attributes:
        elbo: Mean of log w over the draws.
        log_prob: Importance-weighted estimate of log p(x); in the mean a lower bound.
        effective_samples: Effective sample size.
    """

    elbo: Tensor
    log_prob: Tensor
    effective_samples: Tensor


def draw_weighted(
    autoencoder: Autoencoder, batch: Batch, draws: int, processes: Processes = ALONE
) -> Draws:
    """Draw latents from the guide for each observation, in chunks; on the CPU.

    Always the same random numbers: two calls with the same weights agree.

    Args:
        autoencoder: Model and guide.
        batch: The data.
        draws: Number of latents for each observation.
        processes: The processes that call this together and share the data; all have the result,
            which does not depend on their number.

    Raises:
        DataError: A weight is not finite; names the data.
        SpecError: The guide is a point, whose weights would be constant, as those of an exact
            guide are.
    """
    with evaluating(autoencoder, batch.device):
        require_density(LocalPosterior(autoencoder, batch[:1]))
    drawn = draw_codes(autoencoder, batch, draws, processes)
    require_finite(drawn.log_weight)
    return drawn


def draw_codes(
    autoencoder: Autoencoder, batch: Batch, draws: int, processes: Processes = ALONE
) -> Draws:
    """Draw as :func:`draw_weighted`, also from points, whose "weights" are log p(x, z)."""

    def work(part: Batch) -> Draws:
        return _draw_chunks(autoencoder, part, draws)

    batch = Batch.of(batch)
    with evaluating(autoencoder, batch.device):
        rows = shared(batch.split(chunks.data(batch.device)), work, batch.device, processes)
    return Draws(*(torch.cat(column, dim=1) for column in zip(*rows, strict=True)))


def bounds(log_weight: Tensor) -> Bounds:
    r"""The bounds from weights ``(draws, data)``.

    .. math::
        \text{ELBO} = \frac1S \sum_s \log w_s, \qquad
        \log p(x) \approx \log \frac1S \sum_s w_s, \qquad
        \text{ESS} = \frac{(\sum_s w_s)^2}{\sum_s w_s^2}
    """
    log_sum = log_weight.logsumexp(0)
    return Bounds(
        log_weight.mean(0),
        log_sum - math.log(len(log_weight)),
        (2 * log_sum - (2 * log_weight).logsumexp(0)).exp(),
    )


def weigh(
    draw: Callable[..., Sequence[Tensor]], batch: Batch, draws: int
) -> tuple[Tensor, Tensor]:
    """Log w and log p(x | z) of draws from the guide, ``(draws, data)``, in bounded memory.

    Args:
        draw: Function of the data's tensors and a number ``draws`` that
            returns latents with log-densities.
        batch: A few data.
        draws: Number of latents for each observation.
    """
    drawn = [
        draw(*batch.tensors, draws=size) for size in chunks.draws(len(batch), draws, batch.device)
    ]
    found = [Draws(*part) for part in drawn]
    return (
        torch.cat([part.log_weight for part in found]),
        torch.cat([part.log_likelihood for part in found]),
    )


def standard_error(values: Tensor) -> Tensor:
    """Standard error of means over the last dimension; NaN for a single observation."""
    count = values.shape[-1]
    if count < 2:
        return values.new_full(values.shape[:-1], torch.nan)
    return values.std(-1) / count**0.5


def require_density(local: LocalPosterior) -> None:
    """Refuse a guide that has no density.

    Raises:
        SpecError: The guide is a point.
    """
    if local.point:
        raise SpecError(
            f"the guide, {local.autoencoder.formulas().guide}, is a point, which has no density "
            "for weights p(x, z) / q(z | x): choose inference.guide.kind 'diagonal'"
        )


def require_finite(log_weight: Tensor, start: int = 0) -> None:
    """Refuse weights that are not finite.

    Args:
        log_weight: The weights ``(draws, data)``.
        start: Number of the first observation.

    Raises:
        DataError: Names the data whose weights are not finite.
    """
    bad = (start + (~log_weight.isfinite()).any(0).nonzero().flatten()).tolist()
    if bad:
        first = ", ".join(map(str, bad[:5])) + (", ..." if len(bad) > 5 else "")
        raise DataError(
            f"log p(x, z) - log q(z | x) is not finite for {len(bad)} data (number {first}): "
            "these data lie where the model has no density, or its parameters are not finite"
        )


def _draw_chunks(autoencoder: Autoencoder, batch: Batch, draws: int) -> Draws:
    """Draw the latents of a few observations, chunk by chunk."""
    local = LocalPosterior(autoencoder, batch)
    drawn = [local.draw(size) for size in chunks.draws(len(batch), draws, batch.device)]
    return Draws(*(torch.cat(column).cpu() for column in zip(*drawn, strict=True)))
