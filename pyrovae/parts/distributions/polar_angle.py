"""The angle between a draw of a von Mises–Fisher distribution and its location."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions.utils import lazy_property
from torch.nn.functional import softplus

# Two steps a panel, and a reach of sinh(4.5) = 45 widths of the peak: integrals to 1e-12 and F to
# 1e-5, for every dimension and concentration.
PANELS = 96
REACH = 4.5
STEP = REACH / PANELS


class PolarAngle:
    r"""Distribution of the angle :math:`\theta` from the location, through u = log tan(θ/2).

    .. math::
        p(\theta) \propto \sin^{D-2}\theta \; e^{\kappa (\cos\theta - 1)}, \qquad
        p(u) \propto \operatorname{sech}^{D-1} u \; e^{-2 \kappa \operatorname{sigmoid}(2u)}

    In u the peak is about :math:`1/\sqrt{2D-2}` wide whatever :math:`\kappa`, and both tails
    vanish at infinity, so that the trapezoidal rule around the peak converges exponentially
    and no Bessel function is needed. Nodes grow apart towards the tails as a hyperbolic sine
    (Takahasi and Mori). The distribution function F is a monotone rational quadratic spline in
    the variable of the grid, which has its inverse in closed form (Gregory and Delbourgo).

    Args:
        concentration: :math:`\kappa \ge 0`, ``(*batch,)``.
        dim: :math:`D`, the dimension of the space around the sphere.

    Raises:
        ValueError: The dimension is below 2.

    References:
        Takahasi and Mori (1974), *Double Exponential Formulas for Numerical Integration*;
        Gregory and Delbourgo (1982), *Piecewise Rational Quadratic Interpolation to Monotonic
        Data*; Figurnov et al. (2018), *Implicit Reparameterization Gradients*, arXiv:1805.08498.
    """

    def __init__(self, concentration: Float[Tensor, " *batch"], dim: int) -> None:
        if dim < 2:
            raise ValueError(f"a sphere in {dim} dimensions has no angles: at least 2 are needed")
        self.concentration = concentration
        self.dim = dim
        self.width = 1 / math.sqrt(2 * dim - 2)

    @lazy_property
    def log_norm(self) -> Tensor:
        r"""Log of :math:`\int_0^\pi \sin^{D-2}\theta \, e^{\kappa (\cos\theta - 1)} d\theta`."""
        return torch.logsumexp(self._log_weights, -1)

    @lazy_property
    def versine(self) -> Tensor:
        """The mean of 1 − cos θ, exact to its own size however small it is."""
        u = self._place(self._grid, self.concentration.unsqueeze(-1))
        return (torch.softmax(self._log_weights, -1) * 2 * torch.sigmoid(2 * u)).sum(-1)

    def rsample(self, shape: torch.Size) -> Tensor:
        r"""Draws of u, differentiable in the concentration.

        F is inverted at uniform numbers, and a draw moves with the concentration so that F
        stays where it is:

        .. math::
            \frac{\partial u}{\partial \kappa} = - \frac{\partial F / \partial \kappa}{p(u)}

        Args:
            shape: Shape of the result, to which ``batch`` can be broadcast.
        """
        uniform = self.concentration.new_empty(shape).uniform_()
        uniform = uniform.clamp(min=torch.finfo(uniform.dtype).eps)
        panel = (self._spline[0] <= uniform.unsqueeze(-1)).sum(-1, keepdim=True) - 1
        below, mass, left, right = (
            part.expand(*shape, PANELS).gather(-1, panel).squeeze(-1) for part in self._spline
        )
        left, right = left / mass, right / mass  # after the choice: far out are masses of zero
        with torch.no_grad():
            position = _inverse((uniform - below) / mass, left, right)
            grid = (panel.squeeze(-1) + position) * 2 * STEP - REACH
            u = self._place(grid, self.concentration)
            density = (self._log_density(u, self.concentration) - self.log_norm).exp()
        cdf = below + mass * _interpolate(position, left, right)
        return u - (cdf - cdf.detach()) / density

    @lazy_property
    def _grid(self) -> Tensor:
        like = self.concentration
        return torch.linspace(-REACH, REACH, 2 * PANELS + 1, dtype=like.dtype, device=like.device)

    @lazy_property
    def _log_weights(self) -> Tensor:
        """The log of the terms that sum up to the integral, ``(*batch, nodes)``."""
        kappa = self.concentration.unsqueeze(-1)
        spacing = STEP * self.width * self._grid.cosh()
        return self._log_density(self._place(self._grid, kappa), kappa) + spacing.log()

    @lazy_property
    def _spline(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """F below each panel, its mass, and the slopes of F at its ends per panel.

        Each is ``(*batch, panels)``. Masses are by Simpson's rule, which keeps them positive.
        """
        weights = torch.softmax(self._log_weights, -1)
        left, middle, right = weights[..., :-1:2], weights[..., 1::2], weights[..., 2::2]
        mass = (left + 4 * middle + right) / 6
        above = mass.cumsum(-1)
        total = above[..., -1:]
        below = torch.cat([torch.zeros_like(total), above[..., :-1] / total], -1)
        return below, mass / total, left / total, right / total

    def _place(self, grid: Tensor, kappa: Tensor) -> Tensor:
        """The u at places of the grid, whose zero is the peak of p(u)."""
        peak = -torch.asinh(2 * kappa.detach() / (self.dim - 1)) / 2
        return peak + self.width * grid.sinh()

    def _log_density(self, u: Tensor, kappa: Tensor) -> Tensor:
        """The log of p(u), not normalised."""
        log_sech = math.log(2) + u - softplus(2 * u)
        return (self.dim - 1) * log_sech - 2 * kappa * torch.sigmoid(2 * u)


def _interpolate(position: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """The monotone spline from (0, 0) to (1, 1) with the given slopes at its ends."""
    bend = position * (1 - position)
    return (position.square() + left * bend) / (1 + (left + right - 2) * bend)


def _inverse(value: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Inverse of :func:`_interpolate`."""
    excess = value * (left + right - 2)
    linear, quadratic = left - excess, 1 - left + excess
    root = (linear.square() + 4 * quadratic * value).clamp(min=0).sqrt()
    return (2 * value / (linear + root)).clamp(0, 1)
