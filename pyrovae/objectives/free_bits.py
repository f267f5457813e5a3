"""Free bits: a KL that is not penalised below a floor."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from pyrovae.errors import SpecError
from pyrovae.objectives.abstract import Objective
from pyrovae.objectives.requirements import DENSITY, FACTORISED, REPARAMETERISED, Requirement
from pyrovae.programs.densities import Densities
from pyrovae.specs.objectives import Groups


class FreeBitsELBO(Objective):
    r"""ELBO whose KL costs nothing below λ nats in each group of latent dimensions.

    .. math::
        \frac1M \sum_m \mathbb{E}_q \log p(x_m \mid z) - \beta \sum_j \max\Big(\lambda,
        \frac1M \sum_m \operatorname{KL}_j(x_m)\Big)

    The maximum is of the mean over the minibatch, so that observations share the allowance. A
    group is a latent dimension, or all of a site where the KL is no sum over dimensions.

    Args:
        num_particles: Draws of the latent.
        nats: :math:`\lambda`, for each group.
        groups: "dimensions" or "site".
        options: Options of Pyro's ``ELBO``.

    References:
        Kingma et al. (2016), *Improving Variational Inference with Inverse Autoregressive
        Flow*, arXiv:1606.04934, appendix C.8.
    """

    needs: tuple[Requirement, ...] = (DENSITY, REPARAMETERISED)

    def __init__(
        self,
        num_particles: int = 1,
        nats: float = 0.5,
        groups: Groups = "dimensions",
        **options: Any,
    ) -> None:
        super().__init__(num_particles, **options)
        self.nats = nats
        self.groups = groups
        if groups == "dimensions":
            self.needs = (*self.needs, FACTORISED)
        group = "dimension" if groups == "dimensions" else "site"
        self.title = f"ELBO with {nats:g} free nats for each latent {group}"

    def _loss(self, found: Densities, beta: float | Tensor, weights: Tensor | None) -> Tensor:
        loss = -found.reconstruction.mean()
        for site in found.latent.values():
            kl = site.kl_per_dim if self.groups == "dimensions" else site.kl
            if kl is None or site.role == "auxiliary":
                raise SpecError("free bits: the KL is not a sum over the groups of latents")
            # Observations that a mask hides have no allowance either.
            floor = self.nats if site.present is None else self.nats * site.present.double().mean()
            loss = loss + beta * kl.mean((0, 1)).clamp(min=floor).sum()
        return loss
