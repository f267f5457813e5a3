"""Paths through the latent space."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from pyrovae.data import Batch
from pyrovae.exploration.latent_space import LatentSpace
from pyrovae.parts.distributions.von_mises_fisher import unit

# Radians below which an arc and a chord are the same in any precision.
SMALLEST_ANGLE = 1e-6


def codes_on(space: LatentSpace, batch: Batch) -> Tensor:
    """Latents of data for the decoder: means of q(z | x), on the sphere their directions.

    The mean of a distribution on the sphere lies inside the sphere.
    """
    z = space.encode(batch)
    return unit(z) if space.spherical else z


def line(start: Tensor, end: Tensor, steps: int) -> Tensor:
    r"""Straight lines, :math:`(1 - t)\, a + t\, b` at even t from 0 to 1.

    Args:
        start: Latents ``(paths, dims)``.
        end: Latents of the same shape.
        steps: Points on each path, the ends included.

    Returns:
        Latents ``(paths, steps, dims)``.
    """
    t = torch.linspace(0, 1, steps, dtype=start.dtype).unsqueeze(-1)
    return torch.lerp(start.unsqueeze(1), end.unsqueeze(1), t)


def arc(start: Tensor, end: Tensor, steps: int) -> Tensor:
    r"""Arcs about the origin, the angle and the length both even in t.

    .. math::
        z_t = \left((1 - t) \lVert a \rVert + t \lVert b \rVert\right)
              \left(\cos(t \omega)\, u + \sin(t \omega)\, v\right)

    with u the direction of a, v the direction orthogonal to u in the plane of both, and
    :math:`\omega` their angle: the great circle where both have the same length. Opposite ends
    have many such planes, of which one is taken. Where the angle is zero it is the straight line.

    Args:
        start: Latents ``(paths, dims)`` of at least two dimensions.
        end: Latents of the same shape.
        steps: Points on each path, the ends included.

    Returns:
        Latents ``(paths, steps, dims)``.

    References:
        Shoemake (1985), *Animating Rotation with Quaternion Curves*; White (2016), *Sampling
        Generative Networks*, arXiv:1609.04468.
    """
    a, b = start.double(), end.double()
    t = torch.linspace(0, 1, steps, dtype=a.dtype).unsqueeze(-1)
    u, towards = unit(a), unit(b)
    v, sine = _beside(u, towards)
    angle = torch.atan2(sine, (u * towards).sum(-1, keepdim=True)).unsqueeze(1)
    lengths = torch.lerp(_length(a), _length(b), t)
    curved = lengths * ((t * angle).cos() * u.unsqueeze(1) + (t * angle).sin() * v.unsqueeze(1))
    bent = (angle > SMALLEST_ANGLE) & (_length(a) > 0) & (_length(b) > 0)
    return torch.where(bent, curved.to(start), line(start, end, steps))


def _length(codes: Tensor) -> Tensor:
    return codes.norm(dim=-1, keepdim=True).unsqueeze(1)


def _beside(u: Tensor, towards: Tensor) -> tuple[Tensor, Tensor]:
    """Unit vectors orthogonal to ``u`` on the side of others, and the sines of their angles."""
    rest = towards - (u * towards).sum(-1, keepdim=True) * u
    sine = rest.norm(dim=-1, keepdim=True)
    # Opposite: any direction will do, and the axis farthest from u is the safest to begin with.
    axis = one_hot(u.abs().argmin(-1), u.shape[-1]).to(u)
    other = axis - (u * axis).sum(-1, keepdim=True) * u
    return unit(torch.where(sine > SMALLEST_ANGLE, rest, other)), sine
