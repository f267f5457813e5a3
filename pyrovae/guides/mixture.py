"""Mixture guide, for posteriors with several modes."""

from __future__ import annotations

from collections.abc import Sequence

import pyro.distributions as dist
import torch
from jaxtyping import Float
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor, nn

from pyrovae.guides.abstract import Guide
from pyrovae.networks import Encoder
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


class NormalMixture(dist.MixtureSameFamily):  # type: ignore[misc]
    r"""Mixture of diagonal normals whose draws follow its parameters, weights included.

    Each dimension, given those before it, has a distribution function that sends a draw to
    uniform noise. A draw moves with the parameters such that this noise stays as it is:

    .. math::
        S_d(z) = \sum_k w_{dk} \, \Phi \Big( \frac{z_d - \mu_{kd}}{\sigma_{kd}} \Big),
        \qquad w_{dk} \propto \pi_k \prod_{e < d} \mathcal{N}(z_e \mid \mu_{ke}, \sigma_{ke}^2),
        \qquad \mathrm{d} z = - \Big( \frac{\partial S}{\partial z} \Big)^{-1} \mathrm{d} S

    Pyro's ``MixtureOfDiagNormals`` is not used: in Pyro 1.9 the gradient of its draws to the
    weights is right only for scales of one.

    Args:
        mixture_distribution: Categorical with batch shape ``(*batch,)``.
        component_distribution: Independent normals, ``(*batch, components)`` of ``(dims,)``.

    References:
        Graves (2016), arXiv:1607.05690; Figurnov, Mohamed and Mnih (2018), *Implicit
        Reparameterization Gradients*, arXiv:1805.08498.
    """

    has_rsample = True

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Reparameterised draws ``(*sample_shape, *batch, dims)``; for first derivatives."""
        z = self.sample(torch.Size(sample_shape))
        noise, jacobian = self._noise(z)
        moved = (noise - noise.detach()).unsqueeze(-1)  # zero, but for its gradient
        step = torch.linalg.solve_triangular(jacobian.detach(), moved, upper=False)
        return z - step.squeeze(-1).to(z.dtype)

    def _noise(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """S(z) and its derivative by z, ``(..., dims)`` and ``(..., dims, dims)``."""
        # In float64: far out, where functions are almost one, it is their differences that count.
        normals: dist.Normal = self.component_distribution.base_dist
        loc, scale = normals.loc.double(), normals.scale.double()
        components = dist.Normal(loc, scale)
        each = z.double().unsqueeze(-2)  # (..., 1, dims) against (..., components, dims)
        log_density, cdf = components.log_prob(each), components.cdf(each)
        before = log_density.cumsum(-1) - log_density
        logits = self.mixture_distribution.logits.double().unsqueeze(-1)
        weights = (logits + before).softmax(-2)
        noise = (weights * cdf).sum(-2)
        slope = (loc - each) / scale.square()
        excess = weights * (cdf - noise.unsqueeze(-2))
        below = torch.einsum("...kd,...ke->...de", excess, slope).tril(-1)
        return noise, below + (weights * log_density.exp()).sum(-2).diag_embed()
