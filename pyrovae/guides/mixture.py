"""Mixture guide, for posteriors with several modes."""

from __future__ import annotations

import pyro.distributions as dist
from jaxtyping import Float
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor, nn

from pyrovae.guides.abstract import Guide
from pyrovae.networks import Encoder
from pyrovae.normal_mixture import NormalMixture
from pyrovae.scale import positive


class MixtureGuide(Guide):
    r"""Mixture of normals with diagonal covariances, all parameters linear in the features.

    .. math::
        q(z \mid x) = \sum_{k=1}^{K} \pi_k(x)\,
        \mathcal{N}(z \mid \mu_k(x), \operatorname{diag} \sigma_k(x)^2)

    Draws are reparameterised, by the weights as well. The locations start apart by draws from the
    standard normal: components that start alike would stay alike.

    Args:
        encoder: Network from data to features.
        latent_dim: Length of the code.
        components: Number of normals :math:`K`.

    References:
        Graves (2016), *Stochastic Backpropagation through Mixture Density Distributions*,
        arXiv:1607.05690.
    """

    def __init__(self, encoder: Encoder, latent_dim: int, components: int = 4) -> None:
        super().__init__()
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
        components = dist.Normal(loc, positive(raw_scale)).to_event(1)
        return NormalMixture(dist.Categorical(logits=self.logits(features)), components)
