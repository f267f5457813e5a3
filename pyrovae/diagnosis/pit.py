"""Probability integral transforms and z-scores of the latents that data were simulated from."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from pyrovae.data import Batch
from pyrovae.diagnosis.ranks import uniform_rank
from pyrovae.evaluation.angles import on_plane, unwrapped
from pyrovae.evaluation.latent_means import ACTIVE_VARIANCE
from pyrovae.evaluation.local import LocalPosterior
from pyrovae.evaluation.marginals import guide_marginals
from pyrovae.evaluation.simulation import simulate
from pyrovae.programs.autoencoder import Autoencoder

# Draws among which a latent is ranked where the guide's marginals are not known.
DRAWS = 99
# Relative difference of standard deviations up to which the guide is the prior.
PRIOR_SCALE = 0.1
# A standard deviation to divide by where all draws are the same.
SMALLEST = 1e-12


class Placed(NamedTuple):
    """Latents of simulated data relative to the guide's distributions, ``(data, dims)`` each.

    Attributes:
        pit: Probability integral transform, the guide's distribution function at the latent.
        pit_log_joint: Rank of log p(x, z) among draws of the guide, ``(data,)``.
        z: Latent less the guide's mean, in its standard deviations.
        code: Latents ``(data, dims, 2)``, angles as points of the plane.
        mean: Mean of the guide, as ``code``.
        variance: Variance of the guide, around ``mean``.
        noise: Variance of the error of ``mean``; zero where the mean is known exactly.
    """

    pit: Tensor
    pit_log_joint: Tensor
    z: Tensor
    code: Tensor
    mean: Tensor
    variance: Tensor
    noise: Tensor


# As the attributes of the same names, of one site.
_Site = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


def place(autoencoder: Autoencoder, like: Batch | Tensor) -> Placed:
    """Simulate as many data as there are in ``like``, and place their latents."""
    simulated = simulate(autoencoder, like)
    local = LocalPosterior(autoencoder, simulated.batch)
    angles = local.angles
    z = torch.cat([simulated.z.unsqueeze(0), local.draw_guide(DRAWS)])  # by one computation
    log_joint = local.log_joint(z)
    sizes = [shape.numel() for shape in local.shapes.values()]
    marginals = guide_marginals(local).values()
    pieces = zip(marginals, z.split(sizes, dim=-1), angles.split(sizes), strict=True)
    columns = [
        _exact(None if angular.any() else marginal, piece[0]) or _among_draws(piece, angular)
        for marginal, piece, angular in pieces
    ]
    pit, score, mean, variance, noise = (
        torch.cat(column, 1) for column in zip(*columns, strict=True)
    )
    rank = uniform_rank(log_joint)
    if not log_joint.isfinite().all():
        rank = torch.full_like(rank, torch.nan)
    return Placed(pit, rank, score, on_plane(simulated.z, angles), mean, variance, noise)


def _exact(marginal: Any, code: Tensor) -> _Site | None:
    """Exact values from the guide's marginal; None if its distribution function is not known."""
    if marginal is None or marginal.support.is_discrete:
        return None
    try:
        pit, mean, scale = marginal.cdf(code), marginal.mean, marginal.stddev
    except NotImplementedError:
        return None
    score = (code - mean).double() / scale.double().clamp(min=SMALLEST)
    numbers = torch.zeros_like(mean, dtype=torch.bool)
    return pit, score, on_plane(mean, numbers), scale.square(), torch.zeros_like(code)


def _among_draws(z: Tensor, angles: Tensor) -> _Site:
    """Estimates from draws that follow the latent, ``(1 + draws, data, dims)``.

    Angles are unwrapped around the mean direction of all of them, the latent included: so it is
    exchangeable with the draws if the guide is the posterior.
    """
    points = on_plane(z[1:].double(), angles)
    z = unwrapped(z.double(), angles)
    draws, count = z[1:], len(z) - 1
    # For normals, so that z-scores have variance one as they do with mean and scale known.
    wider = (1 + 1 / count) * (count - 1) / (count - 3)
    score = (z[0] - draws.mean(0)) / (draws.std(0) * wider**0.5).clamp(min=SMALLEST)
    variance = points.var(0).sum(-1)
    return uniform_rank(z), score, points.mean(0), variance * wider, variance / count


def active(found: Placed) -> Tensor:
    """Latent dimensions in which the guide differs from the prior."""
    prior_variance = found.code.var(0).sum(-1)
    varies = found.mean.var(0).sum(-1) - found.noise.mean(0) > ACTIVE_VARIANCE * prior_variance
    ratio = (found.variance.mean(0) / prior_variance).sqrt()
    return varies | ((ratio - 1).abs() > PRIOR_SCALE)
