"""Normal prior."""

from __future__ import annotations

import pyro.distributions as dist
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor

from pyrovae.parts.priors.location_scale import LocationScalePrior


class NormalPrior(LocationScalePrior):
    r"""Standard normal, or diagonal normal with learned location and scale.

    .. math::
        p(z) = \mathcal{N}(z \mid 0, I)
        \quad\text{or}\quad p(z) = \mathcal{N}(z \mid m, \operatorname{diag} s^2)

    Args:
        latent_dim: Length of the latent.
        learned: Make location and scale parameters.

    References:
        Kingma and Welling (2014), *Auto-Encoding Variational Bayes*, arXiv:1312.6114.
    """

    def __init__(self, latent_dim: int, learned: bool = False) -> None:
        super().__init__(latent_dim, learned)
        self.formula = "Normal(loc, diag scale²), learned" if learned else "Normal(0, I)"

    def family(self, loc: Tensor, scale: Tensor) -> TorchDistributionMixin:
        """Independent normal variables."""
        return dist.Normal(loc, scale)
