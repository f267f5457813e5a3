"""Mixtures of diagonal normals, for priors, the VampPrior and guides."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor
from torch.distributions import Categorical, Independent


def mixture_of(weights: Categorical, components: Any) -> TorchDistributionMixin:
    """Mixture of ``(*batch, components)`` distributions of latents."""
    normal = isinstance(components, Independent) and isinstance(components.base_dist, dist.Normal)
    family = NormalMixture if normal else dist.MixtureSameFamily
    return family(weights, components)


class NormalMixture(dist.MixtureSameFamily):  # type: ignore[misc]
    r"""Mixture of diagonal normals with fast densities and reparameterised draws.

    The squares in the exponents are multiplied out, so that the densities of many latents under
    many components are a product of matrices,

    .. math::
        \log \mathcal{N}(z \mid \mu_k, \sigma_k^2) = -\tfrac12 \sum_d \frac{z_d^2}{\sigma_{kd}^2}
        + \sum_d \frac{z_d \mu_{kd}}{\sigma_{kd}^2} + c_k

    in float64, which leaves enough digits after cancellation.

    Each dimension, given those before it, has a distribution function that sends a draw to
    uniform noise. A draw moves with the parameters such that this noise stays as it is:

    .. math::
        S_d(z) = \sum_k w_{dk} \, \Phi \Big( \frac{z_d - \mu_{kd}}{\sigma_{kd}} \Big),
        \qquad w_{dk} \propto \pi_k \prod_{e < d} \mathcal{N}(z_e \mid \mu_{ke}, \sigma_{ke}^2),
        \qquad \mathrm{d} z = - \Big( \frac{\partial S}{\partial z} \Big)^{-1} \mathrm{d} S

    Pyro's ``MixtureOfDiagNormals`` is not used: in Pyro 1.9 the gradient of its draws to the
    weights is right only for scales of one.

    Args:
        mixture_distribution: Categorical with batch shape ``(*batch,)``.
        component_distribution: Independent normals, ``(*batch, components)`` of ``(dims,)``.

    References:
        Graves (2016), arXiv:1607.05690; Figurnov, Mohamed and Mnih (2018), *Implicit
        Reparameterization Gradients*, arXiv:1805.08498.
    """

    has_rsample = True
    _made: NormalMixture | None = None

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> NormalMixture:
        """The same mixture for every element of a larger batch."""
        new = super().expand(batch_shape, _instance)
        new._made = self._made or self
        return new

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density of ``(..., *batch, dims)``."""
        if self._validate_args:
            self._validate_sample(value)
        made = self._made or self  # before any expansion: its components only once
        normals: dist.Normal = made.component_distribution.base_dist
        loc, precision = normals.loc.double(), normals.scale.double().pow(-2)
        half_log = 0.5 * (precision / (2 * math.pi)).log()
        constant = (half_log - 0.5 * precision * loc.square()).sum(-1)
        z = value.double().expand(*torch.broadcast_shapes(value.shape[:-1], self.batch_shape), -1)
        row = z.unsqueeze(-2)
        quadratic = row.square() @ (-0.5 * precision).mT + row @ (precision * loc).mT
        each = quadratic.squeeze(-2) + constant
        weights = made.mixture_distribution.logits.double().log_softmax(-1)
        return (each + weights).logsumexp(-1).to(value.dtype)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Reparameterised draws ``(*sample_shape, *batch, dims)``; for first derivatives."""
        z = self.sample(torch.Size(sample_shape))
        noise, jacobian = self._noise(z)
        moved = (noise - noise.detach()).unsqueeze(-1)  # zero, but for its gradient
        step = torch.linalg.solve_triangular(jacobian.detach(), moved, upper=False)
        return z - step.squeeze(-1).to(z.dtype)

    def _noise(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """S(z) and its derivative by z, ``(..., dims)`` and ``(..., dims, dims)``."""
        # In float64: far out, where functions are almost one, it is their differences that count.
        normals: dist.Normal = self.component_distribution.base_dist
        loc, scale = normals.loc.double(), normals.scale.double()
        components = dist.Normal(loc, scale)
        each = z.double().unsqueeze(-2)  # (..., 1, dims) against (..., components, dims)
        log_density, cdf = components.log_prob(each), components.cdf(each)
        before = log_density.cumsum(-1) - log_density
        logits = self.mixture_distribution.logits.double().unsqueeze(-1)
        weights = (logits + before).softmax(-2)
        noise = (weights * cdf).sum(-2)
        slope = (loc - each) / scale.square()
        excess = weights * (cdf - noise.unsqueeze(-2))
        below = torch.einsum("...kd,...ke->...de", excess, slope).tril(-1)
        return noise, below + (weights * log_density.exp()).sum(-2).diag_embed()
