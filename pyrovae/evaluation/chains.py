"""Chains of Hamiltonian Monte Carlo on p(z | x), for a few data at once."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from pyrovae.evaluation.hamiltonian import DualAveraging, LogDensity, at, transition
from pyrovae.evaluation.local import LocalPosterior


class Chains(NamedTuple):
    """Draws ``(chain, draw, obs, latent)`` float32 with their statistics; on the CPU."""

    z: Tensor
    sample_stats: dict[str, Tensor]


def sample(
    local: LocalPosterior,
    log_prob: LogDensity,
    z: Tensor,
    scale: Tensor,
    warmup: int,
    draws: int,
) -> Chains:
    """Draws from p(z | x) of a few data. The step size of each chain is adapted during warm-up.

    Args:
        local: The posteriors.
        log_prob: Log p(x, z) as a density of free points.
        z: Start of each chain, ``(chains, data, dims)``.
        scale: About the standard deviations of p(z | x) in free coordinates.
        warmup: Transitions that are not kept.
        draws: Transitions that are kept.

    Raises:
        SpecError: A latent is discrete.
    """
    coordinates = local.coordinates
    point = at(log_prob, coordinates.free(z))
    tuned = DualAveraging(torch.ones_like(point.log_prob))
    for _ in range(warmup):
        moved = transition(log_prob, point, tuned.step, scale)
        point = moved.point
        tuned.update(moved.acceptance)
    kept, stats = [], []
    for _ in range(draws):
        moved = transition(log_prob, point, tuned.averaged, scale)
        point = moved.point
        kept.append(coordinates.code(point.u)[0].float().cpu())
        stats.append((point.log_prob, moved.acceptance, moved.energy, moved.diverging))
    lp, acceptance, energy, diverging = (
        torch.stack(column, dim=1).cpu() for column in zip(*stats, strict=True)
    )
    return Chains(
        torch.stack(kept, dim=1),
        {
            "lp": lp,
            "acceptance_rate": acceptance,
            "energy": energy,
            "diverging": diverging,
            "step_size": tuned.averaged.cpu().unsqueeze(1).expand_as(lp),
        },
    )
