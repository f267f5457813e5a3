"""Von Mises–Fisher guide: a code on the sphere."""

from __future__ import annotations

from jaxtyping import Float
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor, nn

from pyrovae.guides.abstract import Guide
from pyrovae.networks import Encoder
from pyrovae.scale import positive, raw_scale
from pyrovae.sphere import VonMisesFisher, require_sphere, unit

# Single precision holds a unit vector to 1e-7; at this concentration the posterior is 1e-3 wide.
MAX_CONCENTRATION = 1e6
START = 4.0


class VonMisesFisherGuide(Guide):
    r"""Von Mises–Fisher distribution, both parameters from linear maps of the features.

    .. math::
        q(z \mid x) \propto e^{\kappa(x) \langle \mu(x), z \rangle}, \qquad \lVert z \rVert = 1

    The concentration is :math:`\kappa = 1 + D \operatorname{softplus}(r(x))`, then bounded
    smoothly by :data:`MAX_CONCENTRATION`. It starts at about :data:`START` times the dimension
    :math:`D`, where the mean of the posterior has length 0.9 whatever :math:`D`. It never falls
    to zero: there the location would receive no gradient any more, and the posterior could not
    leave the prior again. So the KL is at least that of :math:`\kappa = 1`, about
    :math:`1 / (2D)` nats.

    Args:
        encoder: Network from data to features.
        latent_dim: Length of the code, :math:`D`; the sphere has one dimension fewer.

    Raises:
        SpecError: The code has length 1, for which the sphere is two points.

    References:
        Davidson et al. (2018), *Hyperspherical Variational Auto-Encoders*, arXiv:1804.00891.
    """

    formula = "vonMisesFisher(loc(x), concentration(x))"

    def __init__(self, encoder: Encoder, latent_dim: int) -> None:
        super().__init__()
        require_sphere(latent_dim)
        self.latent_dim = latent_dim
        self.encoder = encoder
        self.loc = nn.Linear(encoder.features, latent_dim)
        self.concentration = nn.Linear(encoder.features, 1)
        nn.init.constant_(self.concentration.bias, raw_scale(START))

    def forward(self, x: Float[Tensor, " ..."]) -> TorchDistributionMixin:
        """q(z | x) for data of shape ``(*batch, *shape)``."""
        features = self.encoder(x)
        raw = self.concentration(features).squeeze(-1)
        concentration = bounded(1 + self.latent_dim * positive(raw))
        return VonMisesFisher(unit(self.loc(features)), concentration)


def bounded(concentration: Float[Tensor, " ..."]) -> Float[Tensor, " ..."]:
    """A concentration that stays below :data:`MAX_CONCENTRATION`, and is as it was far below."""
    return concentration / (1 + concentration / MAX_CONCENTRATION)
