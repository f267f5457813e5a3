"""Distributions on the unit sphere."""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from pyro.distributions import constraints
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor
from torch.distributions import register_kl
from torch.distributions.constraints import Constraint
from torch.nn.functional import normalize

from pyrovae.errors import SpecError
from pyrovae.parts.distributions.polar_angle import PolarAngle

SHORTEST = 1e-6  # a vector that has a direction


def log_area(dim: int) -> float:
    r"""The log of the area :math:`2 \pi^{D/2} / \Gamma(D/2)` of the unit sphere in D dimensions.

    Example:
        >>> math.isclose(log_area(2), math.log(2 * math.pi))
        True
    """
    return math.log(2) + dim / 2 * math.log(math.pi) - math.lgamma(dim / 2)


def unit(vector: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
    """Direction of a vector; of the zero vector, the first axis, with a finite gradient.

    A draw of the normal can be exactly zero: single precision has few small uniform numbers.
    """
    short = vector.norm(dim=-1, keepdim=True) < SHORTEST
    first = torch.zeros_like(vector)
    first[..., 0] = 1
    return normalize(vector + short * first, dim=-1)


def require_sphere(latent_dim: int) -> None:
    """Refuse a latent that is too short for a sphere.

    Raises:
        SpecError: The latent has length 1, for which the sphere is two points.
    """
    if latent_dim < 2:
        raise SpecError(
            f"model.latent_dim = {latent_dim}: a code on the sphere needs a length of at least 2"
        )


class HypersphericalUniform(TorchDistribution):
    r"""Uniform distribution on the unit sphere :math:`S^{D-1}`.

    .. math::
        p(z) = \frac{\Gamma(D/2)}{2 \pi^{D/2}}, \qquad \lVert z \rVert = 1

    Args:
        dim: :math:`D`, the dimension of the space around the sphere; the event shape is ``(D,)``.
        dtype: Data type of the draws.
        device: Device of the draws.
    """

    has_rsample = True  # nothing to differentiate with respect to

    def __init__(
        self,
        dim: int,
        batch_shape: torch.Size = torch.Size(),  # noqa: B008
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | None = None,
        validate_args: bool | None = None,
    ) -> None:
        self.dim = dim
        self.dtype = dtype
        self.device = device
        super().__init__(batch_shape, torch.Size([dim]), validate_args=validate_args)

    @property
    def arg_constraints(self) -> dict[str, Constraint]:
        return {}

    @property
    def support(self) -> Constraint:
        return constraints.sphere

    def expand(self, batch_shape: Any, _instance: Any = None) -> HypersphericalUniform:
        return HypersphericalUniform(
            self.dim,
            torch.Size(batch_shape),
            dtype=self.dtype,
            device=self.device,
            validate_args=self._validate_args,
        )

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        shape = self._extended_shape(sample_shape)
        return unit(torch.randn(shape, dtype=self.dtype, device=self.device))

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        shape = torch.broadcast_shapes(value.shape[:-1], self.batch_shape)
        return value.new_full(shape, -log_area(self.dim))

    def entropy(self) -> Tensor:
        """The log of the area, in nats."""
        return torch.full(
            self.batch_shape, log_area(self.dim), dtype=self.dtype, device=self.device
        )

    @property
    def mean(self) -> Tensor:
        """The centre of the sphere, the mean in the space around it."""
        shape = self.batch_shape + self.event_shape
        return torch.zeros(shape, dtype=self.dtype, device=self.device)


class VonMisesFisher(TorchDistribution):
    r"""Von Mises–Fisher distribution: an isotropic normal restricted to the unit sphere.

    .. math::
        p(z) \propto e^{\kappa \langle \mu, z \rangle}, \qquad \lVert z \rVert = 1

    At :math:`\kappa = 0` it is uniform; at large :math:`\kappa` it is a normal of variance
    :math:`1/\kappa` in the directions along the sphere. It is reparameterised: the angle from
    the location by implicit differentiation, the direction by a reflection.

    Args:
        loc: :math:`\mu`, unit vectors ``(*batch, D)`` with :math:`D \ge 2`.
        concentration: :math:`\kappa \ge 0`, ``(*batch,)``.

    Example:
        >>> q = VonMisesFisher(torch.eye(3), torch.tensor([0.0, 1.0, 10.0]))
        >>> [round(length, 3) for length in q.rsample().norm(dim=-1).tolist()]
        [1.0, 1.0, 1.0]
        >>> [round(length, 3) for length in q.mean.norm(dim=-1).tolist()]  # coth κ − 1/κ
        [0.0, 0.313, 0.9]

    References:
        Davidson et al. (2018), *Hyperspherical Variational Auto-Encoders*, arXiv:1804.00891;
        Figurnov et al. (2018), *Implicit Reparameterization Gradients*, arXiv:1805.08498.
    """

    has_rsample = True

    def __init__(
        self,
        loc: Float[Tensor, " ..."],
        concentration: Float[Tensor, " ..."],
        *,
        validate_args: bool | None = None,
    ) -> None:
        batch_shape = torch.broadcast_shapes(loc.shape[:-1], concentration.shape)
        self.angle = PolarAngle(concentration, loc.shape[-1])
        self.loc = loc.expand(*batch_shape, -1)
        self.concentration = concentration.expand(batch_shape)
        super().__init__(batch_shape, loc.shape[-1:], validate_args=validate_args)

    @property
    def arg_constraints(self) -> dict[str, Constraint]:
        return {"loc": constraints.sphere, "concentration": constraints.nonnegative}

    @property
    def support(self) -> Constraint:
        return constraints.sphere

    def expand(self, batch_shape: Any, _instance: Any = None) -> VonMisesFisher:
        new = VonMisesFisher(
            self.loc.expand(*batch_shape, -1),
            self.concentration.expand(batch_shape),
            validate_args=False,
        )
        new.angle = self.angle  # of the concentrations as they were: its integrals broadcast
        new._validate_args = self._validate_args
        return new

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        shape = self._extended_shape(sample_shape)
        u = self.angle.rsample(shape[:-1]).unsqueeze(-1)
        direction = unit(torch.randn_like(u.expand(shape)[..., 1:]))
        return -u.tanh() * self.loc + _tangent(self.loc, direction) / u.cosh()

    def log_prob(self, value: Tensor) -> Tensor:
        r"""Density with respect to the area of the sphere, in nats.

        Written with :math:`\lVert z - \mu \rVert^2 / 2 = 1 - \langle \mu, z \rangle`, which a
        large concentration multiplies: the difference has many more correct digits.
        """
        if self._validate_args:
            self._validate_sample(value)
        distance = (normalize(value, dim=-1) - self.loc).square().sum(-1)
        return -self.concentration * distance / 2 - self._log_norm

    def entropy(self) -> Tensor:
        """In nats."""
        entropy = self.concentration * self.angle.versine + self._log_norm
        return entropy.expand(self.batch_shape)

    @property
    def mean(self) -> Tensor:
        """The mean in the space around the sphere: shorter than one, in the direction of loc."""
        return (1 - self.angle.versine).unsqueeze(-1) * self.loc

    @property
    def _log_norm(self) -> Tensor:
        """The log of the integral of exp(−κ |z − μ|² / 2) over the sphere."""
        return self.angle.log_norm + log_area(self.event_shape[0] - 1)


def _tangent(loc: Tensor, direction: Tensor) -> Tensor:
    """Unit vectors orthogonal to ``loc`` (*batch, D) from unit vectors (*batch, D − 1).

    The Householder reflection that carries the first axis to loc or to its opposite, whichever
    is farther: it is nowhere ill-conditioned, and a uniform direction cannot tell them apart.
    """
    first, rest = loc[..., :1], loc[..., 1:]
    sign = torch.where(first < 0, -1.0, 1.0).to(loc.dtype)
    along = (rest * direction).sum(-1, keepdim=True)
    return torch.cat([-sign * along, direction - rest * along / (1 + sign * first)], -1)


@register_kl(VonMisesFisher, HypersphericalUniform)  # type: ignore[untyped-decorator]
def _kl_von_mises_fisher_uniform(q: VonMisesFisher, p: HypersphericalUniform) -> Tensor:
    r"""KL to the uniform distribution, :math:`\log \text{area} - H(q)`, for any location."""
    if q.event_shape != p.event_shape:
        raise ValueError(f"q is on the sphere in {q.event_shape}, p in {p.event_shape}")
    return log_area(p.dim) - q.entropy()
