"""Unconstrained coordinates of latents."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions import constraints
from torch import Tensor
from torch.distributions import biject_to

from pyrovae.errors import SpecError
from pyrovae.evaluation.angles import (
    FULL_TURN,
    is_angular,
    is_made_of_angles,
    mean_direction,
    parts,
    unwrapped,
    wrapped,
)
from pyrovae.parts.distributions.von_mises_fisher import log_area, unit

# Tolerance for the length of a full turn, so that 3.14 passes for π.
TURN_ERROR = 0.01
# Distributions that torch and Pyro call continuous, though their draws are not, or not all.
STRAIGHT_THROUGH = (
    dist.RelaxedBernoulliStraightThrough,
    dist.RelaxedOneHotCategoricalStraightThrough,
)
ATOMS = (dist.ZeroInflatedDistribution, dist.Empirical)


class Coordinates(ABC):
    """Map from free points u to latents z, with the change of density.

    Attributes:
        dims: Length of the latent.
    """

    dims: int

    @abstractmethod
    def code(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Latents ``(*batch, dims)``, and the log-Jacobian of the map, ``(*batch,)``.

        Added to log p(z), the log-Jacobian gives the log-density of u, in nats.
        """

    @abstractmethod
    def free(self, z: Tensor) -> Tensor:
        """A free point for each latent; drawn at random where several map to it."""

    def spread(self, u: Tensor) -> Tensor:
        """Standard deviations over draws of free points, ``(draws, *batch, free dims)``."""
        return u.std(0)


class Real(Coordinates):
    """Latents that are unconstrained already.

    Args:
        dims: Length of the latent.
    """

    def __init__(self, dims: int) -> None:
        self.dims = dims

    def code(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """The point itself."""
        return u, u.new_zeros(u.shape[:-1], dtype=torch.float64)

    def free(self, z: Tensor) -> Tensor:
        """The latent itself."""
        return z


class Circular(Coordinates):
    """Latents that are angles, equal up to full turns.

    The map from real numbers to angles keeps lengths, and so densities.

    Args:
        dims: Length of the latent.
        start: Start of the turn within which latents lie.
    """

    def __init__(self, dims: int, start: float = -math.pi) -> None:
        self.dims = dims
        self.start = start

    def code(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """The same angles within one turn."""
        return wrapped(u, self.start), u.new_zeros(u.shape[:-1], dtype=torch.float64)

    def free(self, z: Tensor) -> Tensor:
        """The latent itself."""
        return z

    def spread(self, u: Tensor) -> Tensor:
        """Standard deviations around the mean directions."""
        angles = torch.ones(self.dims, dtype=torch.bool, device=u.device)
        return (unwrapped(u, angles) - mean_direction(u, angles)).square().mean(0).sqrt()


class Spherical(Coordinates):
    r"""Latents on the unit sphere, as directions of vectors.

    .. math::
        z = u / \lVert u \rVert, \qquad
        p(u) = p(z)\, \frac{e^{-\lVert u \rVert^2 / 2}}{2^{D/2 - 1}\, \Gamma(D/2)}

    The length of u has the distribution of the length of a standard normal vector, independent
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
    """Latents within a support to which torch has a bijection, such as positive numbers.

    Args:
        support: Constraint on a latent.
        shape: Event shape of the latent.
    """

    def __init__(self, support: Any, shape: torch.Size) -> None:
        self.bijection = biject_to(support)
        self.shape = shape
        self.dims = shape.numel()

    def code(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Latents within the support, flattened."""
        u = u.reshape(*u.shape[:-1], *self.bijection.inverse_shape(self.shape))
        value = self.bijection(u)
        log_det = self.bijection.log_abs_det_jacobian(u, value).double()
        batch = value.ndim - len(self.shape)
        return value.flatten(batch) if self.shape else value.unsqueeze(-1), (
            log_det.flatten(batch).sum(-1) if log_det.ndim > batch else log_det
        )

    def free(self, z: Tensor) -> Tensor:
        """The point that the bijection maps to the latent."""
        u = self.bijection.inv(z.reshape(*z.shape[:-1], *self.shape))
        return u.reshape(*z.shape[:-1], -1)


class SideBySide(Coordinates):
    """Several latents as one.

    Args:
        parts: Coordinates of each.
        free_dims: Dimension of the free point of each.
    """

    def __init__(self, parts: Sequence[Coordinates], free_dims: Sequence[int]) -> None:
        self.parts = parts
        self.free_dims = list(free_dims)
        self.dims = sum(part.dims for part in parts)

    def code(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Latents of all parts, concatenated."""
        pieces = u.split(self.free_dims, dim=-1)
        codes, gains = zip(
            *(part.code(piece) for part, piece in zip(self.parts, pieces, strict=True)),
            strict=True,
        )
        return torch.cat(codes, dim=-1), torch.stack(gains).sum(0)

    def free(self, z: Tensor) -> Tensor:
        """Free points of all parts, concatenated."""
        pieces = z.split([part.dims for part in self.parts], dim=-1)
        return torch.cat(
            [part.free(piece) for part, piece in zip(self.parts, pieces, strict=True)], dim=-1
        )

    def spread(self, u: Tensor) -> Tensor:
        """Standard deviations of all parts, concatenated."""
        pieces = u.split(self.free_dims, dim=-1)
        return torch.cat(
            [part.spread(piece) for part, piece in zip(self.parts, pieces, strict=True)], dim=-1
        )


class Circle(constraints.Constraint):
    """Support of angles: real numbers, equal up to full turns.

    Args:
        start: Start of the turn within which draws lie.
    """

    def __init__(self, start: float = -math.pi) -> None:
        self.start = start
        super().__init__()

    def check(self, value: Tensor) -> Tensor:
        return value.isfinite()


class Unsuited(constraints.Constraint):
    """Support of a latent for which gradient-based moves are not defined.

    Args:
        why: Reason, the end of a sentence that begins with the site.
    """

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__()


def true_support(prior: Any, guide: Any) -> Any:
    """The true support of a site, also where torch or Pyro declare another.

    Angles are declared as real numbers, among which a chain could not converge, as their density
    is periodic. Discrete draws with a relaxed density are declared as continuous.

    Args:
        prior: The model's distribution at the site.
        guide: The guide's distribution at the site. A uniform prior over a full turn is one of
            angles if the guide has angles there.
    """
    if is_angular(prior):
        return Circle()
    if is_made_of_angles(prior):
        return Unsuited("is computed from an angle, of which the density does not tell the turn")
    for part in parts(prior):
        if isinstance(part, STRAIGHT_THROUGH):
            return Unsuited("draws discrete values and has the density of relaxed ones")
        if isinstance(part, ATOMS):
            return Unsuited("has a probability at single points, which no density tells of")
    support: Any = prior.support
    start = _start_of_turn(support)
    return Circle(start) if start is not None and is_made_of_angles(guide) else support


def angles(supports: dict[str, Any], shapes: dict[str, torch.Size]) -> Tensor:
    """Mask of the latent dimensions that are angles, ``(dims,)``; see :func:`coordinates`."""
    found = [
        torch.full((shapes[name].numel(),), isinstance(support, Circle))
        for name, support in supports.items()
    ]
    return torch.cat(found)


def coordinates(supports: dict[str, Any], shapes: dict[str, torch.Size]) -> Coordinates:
    """Coordinates of latents, sites one after the other.

    Args:
        supports: Constraint of each latent site, of :func:`true_support`.
        shapes: Event shape of each.

    Raises:
        SpecError: A site is discrete, so that log p(x, z) has no gradient along it, or its
            support has no known map from free points.
    """
    found = [_of_site(name, support, shapes[name]) for name, support in supports.items()]
    if len(found) == 1:
        return found[0]
    free_dims = [
        part.bijection.inverse_shape(part.shape).numel()
        if isinstance(part, Constrained)
        else part.dims
        for part in found
    ]
    return SideBySide(found, free_dims)


def _of_site(name: str, support: Any, shape: torch.Size) -> Coordinates:
    why = "is discrete, and log p(x, z) has no gradient along it" if support.is_discrete else None
    if isinstance(support, Unsuited):
        why = support.why
    if why:
        raise SpecError(
            f"site '{name}' {why}: checks that move through the latents need continuous ones"
        )
    if isinstance(support, Circle):
        return Circular(shape.numel(), support.start)
    inner = _base(support)
    if inner is constraints.real:  # of which real vectors are made as well
        return Real(shape.numel())
    if inner is constraints.sphere:
        return Spherical(shape.numel())
    try:
        return Constrained(support, shape)
    except NotImplementedError:
        raise SpecError(
            f"site '{name}' has the support {support}, and no map to it from real numbers is "
            "known: checks that move through the latents need one, of torch's biject_to"
        ) from None


def _base(support: Any) -> Any:
    while hasattr(support, "base_constraint"):  # of a product, or of a mixture's components
        support = support.base_constraint
    return support


def _start_of_turn(support: Any) -> float | None:
    """The lower end of the support if it is an interval of one full turn, else None."""
    inner = _base(support)
    low, high = (getattr(inner, f"{end}_bound", torch.nan) for end in ("lower", "upper"))
    low, high = torch.as_tensor(low).double(), torch.as_tensor(high).double()
    full = ((high - low - FULL_TURN).abs() < TURN_ERROR) & (low == low.flatten()[0])
    return low.flatten()[0].item() if full.all() else None
