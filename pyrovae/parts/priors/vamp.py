"""VampPrior: a mixture of the guide at learned pseudo-inputs."""

from __future__ import annotations

from typing import Any

import pyro.distributions as dist
import torch
from jaxtyping import Float
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor, nn

from pyrovae.parts.distributions.normal_mixture import mixture_of
from pyrovae.parts.guides import Guide
from pyrovae.parts.priors.abstract import Prior


class VampPrior(Prior):
    r"""Variational mixture of posteriors.

    .. math::
        p(z) = \frac{1}{K} \sum_{k=1}^{K} q(z \mid u_k)

    The best prior for a given guide is its average over the data (the aggregated posterior); this
    is that average over a few learned inputs :math:`u_k`. The pseudo-inputs are kept in units of
    the largest intensity, so that one learning rate suits all data, and shown to the encoder
    inside :math:`[0, 1]`, where data are.

    Args:
        latent_dim: Length of the latent.
        pseudo_inputs: Initial :math:`u_k`, ``(K, *shape)``, for instance data.
        levels: The data's largest intensity; None for real-valued data without bounds.

    References:
        Tomczak and Welling (2018), *VAE with a VampPrior*, arXiv:1705.07120.
    """

    weights: Tensor

    def __init__(
        self,
        latent_dim: int,
        pseudo_inputs: Float[Tensor, "count ..."],
        levels: float | None = None,
    ) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.levels = levels
        count = len(pseudo_inputs)
        self.formula = f"VampPrior, mean of q(z | u) over {count} learned pseudo-inputs u"
        self.pseudo_inputs = nn.Parameter(pseudo_inputs / (levels or 1.0))
        self.register_buffer("weights", torch.full((count,), 1 / count), persistent=False)

    def data(self) -> Float[Tensor, "count ..."]:
        """The pseudo-inputs in the units of the data, for the encoder or for a picture."""
        if self.levels is None:
            return self.pseudo_inputs
        held: Tensor = _HeldInside.apply(self.pseudo_inputs)
        return held * self.levels

    def forward(self, guide: Guide) -> TorchDistributionMixin:
        """p(z) under the guide as it is now; gradients reach guide and pseudo-inputs alike."""
        return mixture_of(dist.Categorical(self.weights), guide(self.data()))


class _HeldInside(torch.autograd.Function):
    """Clamp to [0, 1], with a gradient unless a step would lead further out.

    Torch's own ``clamp`` has a gradient of zero outside and, since torch 2.14, at the ends too,
    where bits and the black of images start: no optimiser would move such a value again.
    """

    @staticmethod
    def forward(ctx: Any, u: Tensor) -> Tensor:
        ctx.save_for_backward(u)
        return u.clamp(0, 1)

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> Tensor:
        (u,), (gradient,) = ctx.saved_tensors, outputs
        # A step goes against the gradient.
        leads_out = ((u < 0) & (gradient > 0)) | ((u > 1) & (gradient < 0))
        return gradient.masked_fill(leads_out, 0)
