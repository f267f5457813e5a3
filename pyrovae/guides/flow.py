"""What guides share that are normalizing flows."""

from __future__ import annotations

import pyro.distributions as dist
import torch
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor, nn
from torch.distributions import AffineTransform

from pyrovae.flows import FlowDistribution
from pyrovae.guides.location_scale import LocationScaleGuide
from pyrovae.networks import Encoder


class FlowGuide(LocationScaleGuide):
    r"""Standard normal noise through a flow, then to where the encoder says.

    .. math::
        z = \mu(x) + \sigma(x) \odot T(\varepsilon; h(x)),
        \qquad \varepsilon \sim \mathcal{N}(0, I)

    :math:`h(x)` are the encoder's features. The affine map of each dimension comes last, so that
    :math:`T` bends standardised noise, which is where splines have their knots. This is as
    general as the affine map first: an autoregressive transformation takes up an affine map of
    each dimension on either side.

    :math:`T` starts as the identity, and the guide as the diagonal one. Sampling takes one pass
    through :math:`T`, and the density of the draw comes with it; the density of any other code
    has to invert :math:`T`.

    Args:
        encoder: Network from data to features.
        latent_dim: Length of the code.
        transform: Module from features to :math:`T`.
    """

    noise_loc: Tensor
    noise_scale: Tensor

    def __init__(self, encoder: Encoder, latent_dim: int, transform: nn.Module) -> None:
        super().__init__(encoder, latent_dim)
        self.transform = transform
        # Buffers, so that they follow the parameters to another device; not worth saving.
        self.register_buffer("noise_loc", torch.zeros(latent_dim), persistent=False)
        self.register_buffer("noise_scale", torch.ones(latent_dim), persistent=False)

    def family(self, loc: Tensor, scale: Tensor, features: Tensor) -> TorchDistributionMixin:
        """Dimensions of whatever shape the flow gives them."""
        noise = dist.Normal(self.noise_loc, self.noise_scale).to_event(1)
        affine = AffineTransform(loc, scale, event_dim=1)
        return FlowDistribution(noise, [self.transform(features), affine])
