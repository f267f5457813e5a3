"""Importance-sampling estimate of log p(x), with the guide as proposal."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from pyrovae.compute import chunks
from pyrovae.compute.compiled import CompiledOnDemand
from pyrovae.compute.modes import evaluating
from pyrovae.evaluation.batches import batches, observations
from pyrovae.evaluation.importance import bounds, weigh
from pyrovae.evaluation.local import Draws, LocalPosterior
from pyrovae.objectives.requirements import DENSITY, check
from pyrovae.programs.arguments import options_checked, split_of
from pyrovae.programs.autoencoder import Autoencoder
from pyrovae.programs.given_values import as_count
from pyrovae.specs.computation import Computation


class Evidence(NamedTuple):
    """Estimates of log p(x) per observation, float64 on the CPU.

    Attributes:
        log_prob: Estimate of log p(x) in nats, ``(data,)``; in the mean a lower bound.
        effective_samples: Effective sample size, ``(data,)``.
    """

    log_prob: Tensor
    effective_samples: Tensor


@options_checked
def log_evidence(
    autoencoder: Autoencoder,
    data: Any,
    samples: int = 5000,
    *,
    progress: bool = False,
    computation: Computation | None = None,
) -> Evidence:
    r"""Importance-weighted estimate of log p(x) per observation, in bounded memory.

    .. math::
        \log p(x) \approx \log \frac1K \sum_{k=1}^K \frac{p(x, z_k)}{q(z_k \mid x)},
        \qquad z_k \sim q(z \mid x)

    Always the same random numbers: two estimates from the same weights agree.

    Args:
        autoencoder: Model and guide.
        data: A split, as loaded or as the model sees it; splits, of which the test data are taken;
            or an array, a tensor or a DataFrame of values as the model sees them.
        samples: :math:`K`.
        progress: Whether to draw a progress bar.
        computation: Options of compilation and precision.

    Raises:
        SpecError: The guide is a point, from which nothing can be sampled; or the first argument
            is no autoencoder, or ``samples`` no whole number.
        DataError: The data are of another kind or shape.

    References:
        Burda, Grosse and Salakhutdinov (2016), *Importance Weighted Autoencoders*,
        arXiv:1509.00519, who report it with K = 5000.
    """
    data = split_of("log_evidence(vae, data)", autoencoder, data)
    samples = as_count("log_evidence", samples, "samples")
    device = autoencoder.device
    few = observations(data, torch.arange(min(2, len(data)))).to(device)
    check("importance sampling", (DENSITY,), autoencoder, few)
    with evaluating(autoencoder, device):
        local = LocalPosterior(autoencoder, few)

    def draw(*tensors: Tensor, draws: int) -> Draws:
        return local.of(local.batch.rebuilt(tensors)).draw(draws)

    recurring = CompiledOnDemand(draw, autoencoder, computation)
    parts = []
    bar = tqdm(total=len(data), unit="obs", disable=not progress, file=sys.stderr)
    with evaluating(autoencoder, device), bar:
        for batch in batches(data, device, chunks.data(device)):
            log_weight, _ = weigh(recurring, batch, samples)
            found = bounds(log_weight)
            parts.append(Evidence(found.log_prob, found.effective_samples))
            bar.update(len(batch))
    return Evidence(*(torch.cat(column).cpu() for column in zip(*parts, strict=True)))
