"""All mass at one point."""

from __future__ import annotations

import pyro.distributions as dist
from jaxtyping import Float
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor

from pyrovae.parts.families.abstract import Family, Head


class DeltaFamily(Family):
    r"""All mass at one point, linear in the features.

    .. math::
        p(z \mid h) = \delta(z - \mu(h))

    As a guide it makes the bound :math:`\log p(x \mid z) + \beta \log p(z)` at
    :math:`z = \mu(x)`: an autoencoder whose latents the prior keeps together, the plain
    autoencoder at :math:`\beta = 0`. It has no density against which that of the prior could be
    measured, so the number is no bound on :math:`\log p(x)`.

    Args:
        features: Length of the feature vector.
        dims: Length of the latent.

    References:
        Hinton and Salakhutdinov (2006), *Reducing the Dimensionality of Data with Neural
        Networks*, Science 313; Ghosh et al. (2020), *From Variational to Deterministic
        Autoencoders*, arXiv:1903.12436.
    """

    formula = "Delta(loc(h))"

    def __init__(self, features: int, dims: int) -> None:
        super().__init__(features, dims)
        self.loc = Head(features, dims)

    def forward(self, features: Float[Tensor, "*batch features"]) -> TorchDistributionMixin:
        """The point given features."""
        return dist.Delta(self.loc(features)).to_event(1)
