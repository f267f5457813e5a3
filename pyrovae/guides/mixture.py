"""Mixture guide, for posteriors with several modes."""

from __future__ import annotations

from collections.abc import Sequence

import pyro.distributions as dist
from jaxtyping import Float
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor, nn

from pyrovae.errors import SpecError
from pyrovae.guides.abstract import Guide
from pyrovae.networks import Encoder
from pyrovae.scale import positive


class MixtureGuide(Guide):
    r"""Mixture of normals with diagonal covariances, all parameters linear in the features.

    .. math::
        q(z \mid x) = \sum_{k=1}^{K} \pi_k(x)\,
        \mathcal{N}(z \mid \mu_k(x), \operatorname{diag} \sigma_k(x)^2)

    Draws are reparameterised by pathwise gradients, those of the weights included. The
    locations start apart by draws from the standard normal: components that start alike would
    stay alike.

    Args:
        encoder: Network from data to features.
        latent_dim: Length of the code, at least 2: Pyro has the gradients from there on.
        components: Number of normals :math:`K`.

    Raises:
        SpecError: The code has length 1.

    References:
        Jankowiak and Karaletsos (2018), *Pathwise Derivatives for Multivariate Distributions*,
        arXiv:1806.01856.
    """

    def __init__(self, encoder: Encoder, latent_dim: int, components: int = 4) -> None:
        super().__init__()
        if latent_dim < 2:
            raise SpecError(
                f"model.latent_dim = {latent_dim}: inference.guide 'mixture' needs codes of "
                "length 2 or more; choose a longer code, or inference.guide.kind 'spline'"
            )
        self.latent_dim = latent_dim
        self.formula = f"mixture of {components} Normals(loc(x), diag scale(x)²)"
        self.encoder = encoder
        self.logits = nn.Linear(encoder.features, components)
        self.loc = nn.Linear(encoder.features, components * latent_dim)
        self.scale = nn.Linear(encoder.features, components * latent_dim)
        nn.init.normal_(self.loc.bias)

    def forward(self, x: Float[Tensor, " ..."]) -> TorchDistributionMixin:
        """q(z | x) for data of shape ``(*batch, *shape)``."""
        features = self.encoder(x)
        loc, raw_scale = (
            head(features).unflatten(-1, (-1, self.latent_dim)) for head in (self.loc, self.scale)
        )
        return DiagonalNormalMixture(loc, positive(raw_scale), self.logits(features))


class DiagonalNormalMixture(dist.MixtureOfDiagNormals):
    """Pyro's mixture with its moments, and with draws whose gradient does not overflow.

    Args:
        locs: Locations, ``(*batch, components, dims)``.
        coord_scale: Standard deviations, of the same shape.
        component_logits: Log-weights up to a constant, ``(*batch, components)``.
    """

    @property
    def mean(self) -> Tensor:
        """The mean, ``(*batch, dims)``."""
        return self._average(self.locs)

    @property
    def variance(self) -> Tensor:
        """The variance of each dimension, ``(*batch, dims)``."""
        # Around the mean: the difference of two averages would cancel.
        distance = (self.locs - self.mean.unsqueeze(-2)).square()
        return self._average(self.coord_scale.square() + distance)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Reparameterised draws, ``(*sample_shape, *batch, dims)``."""
        # Pyro's gradient has densities outside the logarithm, each a product over all
        # dimensions. That of 50 dimensions of scale 0.1 is more than float32 can hold.
        wide = dist.MixtureOfDiagNormals(
            self.locs.double(), self.coord_scale.double(), self.component_logits.double()
        )
        # Pyro's sample_shape is for a mixture without batch shape only.
        wide = wide.expand((*sample_shape, *self.batch_shape))
        return wide.rsample().to(self.locs.dtype)

    def _average(self, values: Tensor) -> Tensor:
        return (self.probs.unsqueeze(-1) * values).sum(-2)
