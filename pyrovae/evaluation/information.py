"""Mutual information of x and z under the guide."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import TransformedDistribution

from pyrovae.compute import chunks
from pyrovae.data import Batch
from pyrovae.evaluation.local import LocalPosterior
from pyrovae.evaluation.marginals import guide_marginals
from pyrovae.objectives.requirements import pairs
from pyrovae.programs.autoencoder import Autoencoder

# Each latent is scored under each observation: so many data, or fewer if densities are costly.
DATA, DATA_IF_DEAR = 1000, 200
# Numbers at once: 16 MB in float64.
NUMBERS = 2_000_000


class Information(NamedTuple):
    """Bounds on I(x; z) in nats, on the CPU, from ``len(local)`` observations.

    Attributes:
        lower: Terms of the lower bound, one for each latent, ``(data,)``; at most log(data).
        upper: Terms of the upper bound, one for each latent, ``(data,)``.
        per_dim: Terms of the lower bound on I(x; z_d) for each latent and dimension,
            ``(data, dims)``; NaN where the marginals of the guide are not known.
    """

    lower: Tensor
    upper: Tensor
    per_dim: Tensor


def affordable(autoencoder: Autoencoder, batch: Batch) -> int:
    """Number of observations for which all pairwise densities are computed: 1000, or 200.

    A flow has to be inverted for each pair of latent and observation, and a program that cannot
    draw several particles at once runs its encoder for each pair.
    """
    dear = not autoencoder.vectorisable or any(
        isinstance(pair.q, TransformedDistribution)
        for pair in pairs(autoencoder, batch[:2]).values()
    )
    return DATA_IF_DEAR if dear else DATA


def mutual_information(local: LocalPosterior) -> Information:
    r"""Lower and upper bound on I(x; z), from one latent per observation.

    .. math::
        \frac1N \sum_i \log \frac{q(z_i \mid x_i)}{\frac1N \sum_j q(z_i \mid x_j)}
        \;\lesssim\; I(x; z) \;\lesssim\;
        \frac1N \sum_i \log \frac{q(z_i \mid x_i)}{\frac{1}{N-1} \sum_{j \ne i} q(z_i \mid x_j)}

    Both hold in the mean over data sets. The left one is at most log N, whatever the information.

    Args:
        local: Posteriors of the data; the cost is quadratic in their number.

    References:
        Poole et al. (2019), *On Variational Bounds of Mutual Information*, arXiv:1905.06922,
        section 2.
    """
    z = local.draw_guide(1)[0]
    size = _rows(local)
    log_q = torch.cat(
        [local.log_guide(part.unsqueeze(1).expand(-1, len(z), -1)) for part in z.split(size)]
    )
    own, count = log_q.diagonal(), len(z)
    others = log_q.masked_fill(torch.eye(count, dtype=torch.bool, device=z.device), -torch.inf)
    return Information(
        (own - log_q.logsumexp(1) + math.log(count)).cpu(),
        (own - others.logsumexp(1) + math.log(count - 1)).cpu(),
        _per_dim(local, z).cpu(),
    )


def _per_dim(local: LocalPosterior, z: Tensor) -> Tensor:
    pieces = z.split([shape.numel() for shape in local.shapes.values()], dim=-1)
    columns = []
    for marginal, piece in zip(guide_marginals(local).values(), pieces, strict=True):
        if marginal is None:
            columns.append(torch.full_like(piece, torch.nan, dtype=torch.float64))
            continue
        own = marginal.log_prob(piece).double()
        size = max(1, NUMBERS // piece.numel())
        mixed = [
            marginal.log_prob(part.unsqueeze(1)).double().logsumexp(1)
            for part in piece.split(size)
        ]
        columns.append(own - torch.cat(mixed) + math.log(len(z)))
    return torch.cat(columns, dim=-1)


def _rows(local: LocalPosterior) -> int:
    """Number of latents scored under all observations at once."""
    if not local.autoencoder.vectorisable:  # the data are repeated for each
        return max(1, chunks.codes(local.x.device) // len(local))
    return max(1, NUMBERS // (len(local) * local.dims))
