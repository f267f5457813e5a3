"""Codes as points of a space without edges, where gradients can lead anywhere."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from pyro.distributions import constraints
from torch import Tensor
from torch.distributions import biject_to

from pyrovae.errors import SpecError
from pyrovae.sphere import log_area, unit


class Coordinates(ABC):
    """A map from free points u to codes z, which moves densities along.

    Attributes:
        dims: Length of the code.
    """

    dims: int

    @abstractmethod
    def code(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Codes ``(*batch, dims)``, and what log-densities gain on the way back, ``(*batch,)``.

        With the second added to log p(z), it is the log-density of u, in nats.
        """

    @abstractmethod
    def free(self, z: Tensor) -> Tensor:
        """A free point for each code; where several stand for it, one drawn at random."""


class Real(Coordinates):
    """Codes that are free already.

    Args:
        dims: Length of the code.
    """

    def __init__(self, dims: int) -> None:
        self.dims = dims

    def code(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """The point itself."""
        return u, u.new_zeros(u.shape[:-1], dtype=torch.float64)

    def free(self, z: Tensor) -> Tensor:
        """The code itself."""
        return z


class Spherical(Coordinates):
    r"""Codes on the unit sphere, as directions of vectors.

    .. math::
        z = u / \lVert u \rVert, \qquad
        p(u) = p(z)\, \frac{e^{-\lVert u \rVert^2 / 2}}{2^{D/2 - 1}\, \Gamma(D/2)}

    The length of u is given the distribution of that of a standard normal vector, independent
    of z: so the uniform distribution on the sphere becomes the standard normal.

    Args:
        dims: :math:`D`, the dimension of the space around the sphere.
    """

    def __init__(self, dims: int) -> None:
        self.dims = dims
        self.constant = log_area(dims) - dims / 2 * math.log(2 * math.pi)

    def code(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Directions."""
        return unit(u), self.constant - u.double().square().sum(-1) / 2

    def free(self, z: Tensor) -> Tensor:
        """The direction with a random length."""
        return z * torch.randn_like(z).norm(dim=-1, keepdim=True)


class Constrained(Coordinates):
    """Codes within a support that torch knows a bijection to, such as positive numbers.

    Args:
        support: Constraint on a code.
        shape: Event shape of the code.
    """

    def __init__(self, support: Any, shape: torch.Size) -> None:
        self.bijection = biject_to(support)
        self.shape = shape
        self.dims = shape.numel()

    def code(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Codes within the support, flat."""
        u = u.reshape(*u.shape[:-1], *self.bijection.inverse_shape(self.shape))
        value = self.bijection(u)
        log_det = self.bijection.log_abs_det_jacobian(u, value).double()
        batch = value.ndim - len(self.shape)
        return value.flatten(batch) if self.shape else value.unsqueeze(-1), (
            log_det.flatten(batch).sum(-1) if log_det.ndim > batch else log_det
        )

    def free(self, z: Tensor) -> Tensor:
        """The point that the bijection maps to the code."""
        u = self.bijection.inv(z.reshape(*z.shape[:-1], *self.shape))
        return u.reshape(*z.shape[:-1], -1)


class SideBySide(Coordinates):
    """Several codes as one.

    Args:
        parts: Coordinates of each.
        free_dims: How many numbers each has as a free point.
    """

    def __init__(self, parts: Sequence[Coordinates], free_dims: Sequence[int]) -> None:
        self.parts = parts
        self.free_dims = list(free_dims)
        self.dims = sum(part.dims for part in parts)

    def code(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Codes of all parts, one after the other."""
        pieces = u.split(self.free_dims, dim=-1)
        codes, gains = zip(
            *(part.code(piece) for part, piece in zip(self.parts, pieces, strict=True)),
            strict=True,
        )
        return torch.cat(codes, dim=-1), torch.stack(gains).sum(0)

    def free(self, z: Tensor) -> Tensor:
        """Free points of all parts, one after the other."""
        pieces = z.split([part.dims for part in self.parts], dim=-1)
        return torch.cat(
            [part.free(piece) for part, piece in zip(self.parts, pieces, strict=True)], dim=-1
        )


def coordinates(supports: dict[str, Any], shapes: dict[str, torch.Size]) -> Coordinates:
    """Coordinates of codes, sites one after the other.

    Args:
        supports: Constraint of each latent site.
        shapes: Event shape of each.

    Raises:
        SpecError: A site is discrete, so that no gradient leads from one code to another.
    """
    parts = [_of_site(name, support, shapes[name]) for name, support in supports.items()]
    if len(parts) == 1:
        return parts[0]
    free_dims = [
        part.bijection.inverse_shape(part.shape).numel()
        if isinstance(part, Constrained)
        else part.dims
        for part in parts
    ]
    return SideBySide(parts, free_dims)


def _of_site(name: str, support: Any, shape: torch.Size) -> Coordinates:
    if support.is_discrete:
        raise SpecError(
            f"site '{name}' is discrete, and log p(x, z) has no gradient along it: checks that "
            "move through the codes need continuous ones"
        )
    inner = support
    while hasattr(inner, "base_constraint"):  # of a product, or of a mixture's components
        inner = inner.base_constraint
    if inner is constraints.real:  # of which real vectors are made as well
        return Real(shape.numel())
    if inner is constraints.sphere:
        return Spherical(shape.numel())
    return Constrained(support, shape)
