"""Terms of the evidence lower bound: reconstruction and KL, per observation, at β = 1."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from pyrovae.parts.distributions.kl import Kind
from pyrovae.programs.densities import Densities, SiteDensity, total


class ELBOTerms(NamedTuple):
    r"""Reconstruction and KL per observation, in nats and float64, whatever β was optimised.

    .. math::
        \text{ELBO}(x) = \underbrace{\mathbb{E}_q \log p(x \mid z)}_{\text{reconstruction}}
        - \underbrace{\mathbb{E}_q \log \frac{q(z \mid x)}{p(z)}}_{\text{KL}}

    The expectation over q is a mean over particles, except for a KL that has a closed form. The
    sites ``z_1``, ``z_2``, ... of a chain are reported as one, called ``z``.

    Attributes:
        reconstruction: ``(data,)``, summed over the observed sites.
        kl: ``(data,)`` for each latent site.
        kl_per_dim: ``(data, dims)`` for each site whose KL is a sum over its dimensions.
        kl_kind: Kind of the KL of each latent site: "exact", "sampled", or "point", where the
            guide is a point and ``kl`` is -log p(z).
    """

    reconstruction: Tensor
    kl: dict[str, Tensor]
    kl_per_dim: dict[str, Tensor]
    kl_kind: dict[str, Kind]

    @classmethod
    def of(cls, found: Densities) -> ELBOTerms:
        """The terms of the bound from the densities of all particles."""
        kl, kl_per_dim, kl_kind = {}, {}, {}
        for name, sites in _groups(found).items():
            kl[name] = _mean(site.kl for site in sites)
            kl_kind[name] = _kind(site.kl_kind for site in sites)
            shapes = {None if s.kl_per_dim is None else s.kl_per_dim.shape for s in sites}
            if len(shapes) == 1 and None not in shapes:
                kl_per_dim[name] = _mean(site.kl_per_dim for site in sites)
        return cls(_mean([found.reconstruction]), kl, kl_per_dim, kl_kind)

    @property
    def total_kl(self) -> Tensor:
        """KL over all latent sites, ``(data,)``."""
        return sum(self.kl.values(), torch.zeros_like(self.reconstruction))

    @property
    def elbo(self) -> Tensor:
        """The bound at β = 1, ``(data,)``."""
        return self.reconstruction - self.total_kl


def _groups(found: Densities) -> dict[str, list[SiteDensity]]:
    """The latent sites that are reported as one."""
    groups: dict[str, list[SiteDensity]] = {}
    for site in found.latent.values():
        groups.setdefault(site.group, []).append(site)
    return groups


def _mean(values: Iterable[Tensor | None]) -> Tensor:
    """Sum over sites and mean over particles, without a gradient."""
    return total(values).detach().mean(0)


def _kind(kinds: Iterable[Kind | None]) -> Kind:
    """The kind of a sum of KLs: exact only if all of them are."""
    found = set(kinds)
    return "point" if "point" in found else "sampled" if "sampled" in found else "exact"
