"""Circular latents: angles, whose support torch declares as real."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import AffineTransform, TransformedDistribution, VonMises

FULL_TURN = 2 * math.pi


def is_angular(distribution: Any) -> bool:
    """True if draws are angles, equal up to full turns.

    Decided by the family, since torch and Pyro declare the support as real numbers.

    Example:
        >>> is_angular(dist.VonMises(torch.zeros(3), 1.0).to_event(1))
        True
        >>> is_angular(dist.Normal(0.0, 1.0))
        False
    """
    transforms = [
        transform
        for part in parts(distribution)
        if isinstance(part, TransformedDistribution)
        for transform in part.transforms
    ]
    return is_made_of_angles(distribution) and all(map(_turns, transforms))


def is_made_of_angles(distribution: Any) -> bool:
    """True if draws are angles, or are computed from angles."""
    families = VonMises, dist.SineBivariateVonMises, dist.SineSkewed
    return any(isinstance(part, families) for part in parts(distribution))


def parts(distribution: Any) -> Iterator[Any]:
    """The distribution and its constituents: bases and mixture components."""
    yield distribution
    for name in ("base_dist", "component_distribution", "component0", "component1"):
        if (part := getattr(distribution, name, None)) is not None:
            yield from parts(part)


def wrapped(angle: Tensor, start: float | Tensor = -math.pi) -> Tensor:
    """Map angles into the full turn that begins at ``start``."""
    return start + torch.remainder(angle - start, FULL_TURN)


def mean_direction(z: Tensor, angles: Tensor) -> Tensor:
    r"""Means over the first dimension, of an angle :math:`\arg \sum_s e^{i z_s}`.

    Args:
        z: Draws ``(draws, ..., dims)``.
        angles: Mask of the numbers that are angles, ``(dims,)``.
    """
    circular = torch.atan2(z.sin().mean(0), z.cos().mean(0))
    return torch.where(angles, circular, z.mean(0))


def unwrapped(z: Tensor, angles: Tensor, centre: Tensor | None = None) -> Tensor:
    """Draws ``(draws, ..., dims)`` with each angle less than half a turn from a centre.

    Around their mean direction, the default, concentrated angles can be compared and averaged
    like real numbers. Other numbers are unchanged.
    """
    if not angles.any():
        return z
    centre = mean_direction(z, angles) if centre is None else centre
    return torch.where(angles, wrapped(z, centre - math.pi), z)


def on_plane(z: Tensor, angles: Tensor) -> Tensor:
    """Points ``(..., dims, 2)``: (cos z, sin z) for angles, (z, 0) for other numbers.

    Means and variances of these do not depend on where a turn is taken to begin. For angles that
    are concentrated, distances are those of the angles themselves.
    """
    x, y = z.cos().where(angles, z), z.sin().where(angles, torch.zeros_like(z))
    return torch.stack([x, y], dim=-1)


def _turns(transform: Any) -> bool:
    """True if a map of angles is a rotation or a reflection, whose values are angles again."""
    return isinstance(transform, AffineTransform) and bool(
        (torch.as_tensor(transform.scale).abs() == 1).all()
    )
