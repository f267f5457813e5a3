"""Families that are normalizing flows."""

from __future__ import annotations

import pyro.distributions as dist
import torch
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor, nn
from torch.distributions import AffineTransform

from pyrovae.parts.distributions.flows import FlowDistribution, TriangularAffine
from pyrovae.parts.families.full_rank import below_diagonal, lower_triangle
from pyrovae.parts.families.location_scale import LocationScaleFamily


class FlowFamily(LocationScaleFamily):
    r"""Standard normal noise through a flow, then to a location and a scale.

    .. math::
        z = \mu(h) + L(h)\, T(\varepsilon; h),
        \qquad \varepsilon \sim \mathcal{N}(0, I)

    :math:`L` is diagonal, or that of :class:`~pyrovae.parts.families.FullRankNormal` if
    ``correlated``. The affine map comes last, so that :math:`T` bends standardised noise, which
    is where splines have their knots. Of diagonal maps this is as general as the affine map first:
    an autoregressive transformation takes up an affine map of each dimension on either side.

    :math:`T` starts as the identity, and the family as the normal of that location and scale.
    Sampling takes one pass through :math:`T`, and the density of the draw comes with it; the
    density of any other latent has to invert :math:`T`.

    Args:
        features: Length of the feature vector.
        dims: Length of the latent.
        transform: Module from features to :math:`T`.
        correlated: Whether :math:`L` is a triangular matrix.
    """

    noise_loc: Tensor
    noise_scale: Tensor

    def __init__(
        self, features: int, dims: int, transform: nn.Module, *, correlated: bool = False
    ) -> None:
        super().__init__(features, dims)
        self.transform = transform
        self.below = below_diagonal(features, dims) if correlated else None
        # Buffers, so that they follow the parameters to another device; not worth saving.
        self.register_buffer("noise_loc", torch.zeros(dims), persistent=False)
        self.register_buffer("noise_scale", torch.ones(dims), persistent=False)

    def around(self, loc: Tensor, scale: Tensor, features: Tensor) -> TorchDistributionMixin:
        """Return the transformed distribution around location and scale."""
        noise = dist.Normal(self.noise_loc, self.noise_scale).to_event(1)
        affine = (
            AffineTransform(loc, scale, event_dim=1)
            if self.below is None
            else TriangularAffine(loc, lower_triangle(scale, self.below(features)))
        )
        return FlowDistribution(noise, [self.transform(features), affine])
