"""Mixture of normals, for distributions with several modes."""

from __future__ import annotations

import pyro.distributions as dist
from jaxtyping import Float
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor, nn

from pyrovae.parts.distributions.normal_mixture import NormalMixture
from pyrovae.parts.distributions.positive import positive
from pyrovae.parts.families.abstract import Family, Head


class MixtureFamily(Family):
    r"""Mixture of normals with diagonal covariances, all parameters linear in the features.

    .. math::
        p(z \mid h) = \sum_{k=1}^{K} \pi_k(h)\,
        \mathcal{N}(z \mid \mu_k(h), \operatorname{diag} \sigma_k(h)^2)

    Draws are reparameterised, by the weights as well. The locations start apart by draws from the
    standard normal: components that start alike would stay alike.

    Args:
        features: Length of the feature vector.
        dims: Length of the latent.
        components: Number of normals :math:`K`.

    References:
        Bishop (1994), *Mixture Density Networks*, NCRG/94/004; Graves (2016), *Stochastic
        Backpropagation through Mixture Density Distributions*, arXiv:1607.05690.
    """

    def __init__(self, features: int, dims: int, components: int = 4) -> None:
        super().__init__(features, dims)
        self.formula = f"mixture of {components} Normals(loc(h), diag scale(h)²)"
        self.logits = Head(features, components)
        self.loc = Head(features, components * dims)
        self.scale = Head(features, components * dims)
        nn.init.normal_(self.loc.bias)

    def forward(self, features: Float[Tensor, "*batch features"]) -> TorchDistributionMixin:
        """The mixture given features."""
        loc, raw_scale = (
            head(features).unflatten(-1, (-1, self.dims)) for head in (self.loc, self.scale)
        )
        components = dist.Normal(loc, positive(raw_scale)).to_event(1)
        return NormalMixture(dist.Categorical(logits=self.logits(features)), components)
