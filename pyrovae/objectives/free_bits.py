"""Free bits: a KL that is not pressed below a floor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pyrovae.autoencoder import Traces, latent_sites
from pyrovae.compatibility import DENSITY, FACTORISED, REPARAMETERISED, Need
from pyrovae.kl import site_kl, site_kl_per_dim
from pyrovae.objectives.abstract import Objective
from pyrovae.objectives.scaling import beta_of, data_scale, particle_mean, reconstruction
from pyrovae.specs.objectives import Groups


class FreeBitsELBO(Objective):
    r"""ELBO whose KL costs nothing below λ nats in each group of latent dimensions.

    .. math::
        \frac1M \sum_m \mathbb{E}_q \log p(x_m \mid z) - \beta \sum_j \max\Big(\lambda,
        \frac1M \sum_m \operatorname{KL}_j(x_m)\Big)

    The maximum is of the mean over the minibatch, so that data may share the allowance. A
    group is a latent dimension, or all of a site where the KL is no sum over dimensions.

    Args:
        num_particles: Draws of the code.
        nats: :math:`\lambda`, for each group.
        groups: "dimensions" or "site".
        options: Of Pyro's ``ELBO``.

    References:
        Kingma et al. (2016), *Improving Variational Inference with Inverse Autoregressive
        Flow*, arXiv:1606.04934, appendix C.8.
    """

    needs: tuple[Need, ...] = (DENSITY, REPARAMETERISED)

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

    def _loss(self, traces: Sequence[Traces]) -> Tensor:
        reconstructed = reconstruction(traces)
        names = latent_sites(traces[0].model)
        kl = torch.cat([self._group_kls(traces, name) for name in names])
        charged = beta_of(traces[0]) * kl.clamp(min=self.nats).sum()
        return (len(reconstructed) * charged - reconstructed.sum()) * data_scale(traces[0])

    def _group_kls(self, traces: Sequence[Traces], name: str) -> Tensor:
        """KL of each group of a site, ``(groups,)``: means over particles and data."""
        sites = [(trace.guide.nodes[name], trace.model.nodes[name]) for trace in traces]
        if self.groups == "site":
            return particle_mean(site_kl(q, p) for q, p in sites).mean(0, keepdim=True)
        per_dim = [kl for q, p in sites if (kl := site_kl_per_dim(q, p)) is not None]
        return particle_mean(per_dim, event_dim=1).mean(0)
