"""Von Mises–Fisher distribution: a latent on the sphere."""

from __future__ import annotations

from jaxtyping import Float
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor, nn

from pyrovae.parts.distributions.positive import positive, raw_scale
from pyrovae.parts.distributions.von_mises_fisher import VonMisesFisher, require_sphere, unit
from pyrovae.parts.families.abstract import Family, Head

# Single precision holds a unit vector to 1e-7; at this concentration draws are 1e-3 apart.
MAX_CONCENTRATION = 1e6
START = 4.0


class VonMisesFisherFamily(Family):
    r"""Von Mises–Fisher distribution, both parameters from linear maps of the features.

    .. math::
        p(z \mid h) \propto e^{\kappa(h) \langle \mu(h), z \rangle}, \qquad \lVert z \rVert = 1

    The concentration is :math:`\kappa = 1 + D \operatorname{softplus}(r(h))`, then bounded
    smoothly by :data:`MAX_CONCENTRATION`. It starts at about :data:`START` times the dimension
    :math:`D`, where the mean of the distribution has length 0.9 whatever :math:`D`. It never
    falls to zero: there the location would receive no gradient any more, and a guide could not
    leave the prior again. So the KL to the uniform distribution is at least that of
    :math:`\kappa = 1`, about :math:`1 / (2D)` nats.

    Args:
        features: Length of the feature vector.
        dims: Length of the latent, :math:`D`; the sphere has one dimension fewer.

    Raises:
        SpecError: The latent has length 1, for which the sphere is two points.

    References:
        Davidson et al. (2018), *Hyperspherical Variational Auto-Encoders*, arXiv:1804.00891.
    """

    formula = "vonMisesFisher(loc(h), concentration(h))"

    def __init__(self, features: int, dims: int) -> None:
        require_sphere(dims)
        super().__init__(features, dims)
        self.loc = Head(features, dims)
        self.concentration = Head(features, 1)
        nn.init.constant_(self.concentration.bias, raw_scale(START))

    def forward(self, features: Float[Tensor, "*batch features"]) -> TorchDistributionMixin:
        """The distribution given features."""
        raw = self.concentration(features).squeeze(-1)
        concentration = bounded(1 + self.dims * positive(raw))
        return VonMisesFisher(unit(self.loc(features)), concentration)


def bounded(concentration: Float[Tensor, " ..."]) -> Float[Tensor, " ..."]:
    """A concentration that stays below :data:`MAX_CONCENTRATION`, and is as it was far below."""
    return concentration / (1 + concentration / MAX_CONCENTRATION)
