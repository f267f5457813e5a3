"""Base class of priors with independent dimensions, each with a location and a scale."""

from __future__ import annotations

from abc import abstractmethod

import torch
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor, nn

from pyrovae.parts.distributions.positive import positive, raw_scale
from pyrovae.parts.guides import Guide
from pyrovae.parts.priors.abstract import Prior


class LocationScalePrior(Prior):
    r"""The same family in every dimension: standard, or with learned location and scale.

    .. math::
        p(z) = \prod_d \frac{1}{s_d} \, f \Big( \frac{z_d - m_d}{s_d} \Big),
        \qquad m_d = 0, \; s_d = 1 \text{ or learned from there}

    Args:
        latent_dim: Length of the latent.
        learned: Make location and scale parameters.
    """

    loc: Tensor
    scale: Tensor

    def __init__(self, latent_dim: int, learned: bool = False) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.learned = learned
        loc, scale = torch.zeros(latent_dim), torch.ones(latent_dim)
        if learned:
            self.loc = nn.Parameter(loc)
            self.raw_scale = nn.Parameter(scale * raw_scale(1.0))
        else:
            # Buffers, so that they follow the parameters to another device; not worth saving.
            self.register_buffer("loc", loc, persistent=False)
            self.register_buffer("scale", scale, persistent=False)

    @abstractmethod
    def family(self, loc: Tensor, scale: Tensor) -> TorchDistributionMixin:
        """The distribution of independent numbers, ``(latent_dim,)``."""

    def forward(self, guide: Guide) -> TorchDistributionMixin:
        """p(z), independent of the guide."""
        scale = positive(self.raw_scale) if self.learned else self.scale
        return self.family(self.loc, scale).to_event(1)
