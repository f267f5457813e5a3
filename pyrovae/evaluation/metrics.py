"""Means over a split of the data, gathered batch by batch."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pyrovae.errors import SpecError
from pyrovae.objectives.terms import ELBOTerms
from pyrovae.parts.distributions.kl import Kind

LOSS = 1  # where the loss is among the sums


class Layout(NamedTuple):
    """Layout of the vector of :func:`sums`, the same for every batch.

    Attributes:
        sites: Names of the latent sites.
        dims: Number of dimensions of each site whose KL is a sum over dimensions.
        kl_kind: How the KL of each latent site is computed.
    """

    sites: tuple[str, ...]
    dims: dict[str, int]
    kl_kind: dict[str, Kind]

    @classmethod
    def of(cls, terms: ELBOTerms) -> Layout:
        """The layout for sums of these terms."""
        dims = {site: kl.shape[1:].numel() for site, kl in terms.kl_per_dim.items()}
        return cls(tuple(terms.kl), dims, terms.kl_kind)


@dataclass(frozen=True)
class BoundSummary:
    """The bound over a split, in nats per observation.

    Attributes:
        count: Number of data.
        elbo: ELBO at β = 1, reconstruction minus KL.
        standard_error: Standard error of ``elbo``, over data.
        reconstruction: Mean of log p(x | z).
        kl: KL over all latent sites.
        kl_per_site: KL of each latent site.
        kl_per_dim: KL of each latent dimension, sites one after the other; None when some
            site's KL is not a sum over its dimensions.
        kl_kind: For each latent site, whether ``kl`` is "exact", "sampled", or of a "point".
        loss: Loss at the current β.
    """

    count: int
    elbo: float
    standard_error: float
    reconstruction: float
    kl: float
    kl_per_site: dict[str, float]
    kl_per_dim: list[float] | None
    kl_kind: dict[str, Kind]
    loss: float

    @classmethod
    def of(cls, totals: Tensor, layout: Layout, count: int) -> BoundSummary:
        """The summary of :func:`sums` ``(batches, width)`` over ``count`` observations.

        The variance is the sum of that within batches and that of their means, which is accurate
        also where the bound is large compared with its spread.
        """
        totals = totals.reshape(-1, totals.shape[-1])
        weight, loss, *_ = totals.sum(0).tolist()
        elbo, within, reconstruction, *rest = (totals[:, 2:].sum(0) / weight).tolist()
        sites = layout.sites
        kl, per_dim = dict(zip(sites, rest, strict=False)), rest[len(sites) :]
        means = totals[:, 2] / totals[:, 0]
        between = (totals[:, 0] * (means - elbo).square()).sum().item() / weight
        return cls(
            count=count,
            elbo=elbo,
            standard_error=((within + between) / max(1, count - 1)) ** 0.5,
            reconstruction=reconstruction,
            kl=sum(kl.values()),
            kl_per_site=kl,
            kl_per_dim=per_dim if len(layout.dims) == len(sites) else None,
            kl_kind=layout.kl_kind,
            loss=loss / count,
        )


def sums(loss: Tensor, terms: ELBOTerms, weights: Tensor | None = None) -> Tensor:
    """Sums of a batch's loss and terms, side by side in one float64 vector.

    In this order: the data's weights, loss, ELBO, its squared distance from the batch's mean,
    reconstruction, KL of each site, KL of each dimension of the sites that have them.

    Args:
        loss: Loss per observation, to which the weights do not apply.
        terms: Terms of the bound.
        weights: Importance weight of each observation, ``(data,)``; one by default.
    """
    elbo, count = terms.elbo, len(terms.reconstruction)
    share = torch.ones_like(elbo) if weights is None else weights.double()
    total = share.sum()
    squares = (elbo - (share * elbo).sum() / total).square()
    columns = [elbo, squares, terms.reconstruction, *terms.kl.values()]
    table = torch.cat(
        [torch.stack(columns, 1), *(kl.flatten(1) for kl in terms.kl_per_dim.values())], 1
    )
    head = torch.stack([total, loss.detach().double() * count])
    return torch.cat([head, share @ table])


class RunningSums:
    """Running :func:`sums`, on their device until :meth:`summary`.

    Args:
        layout: Layout of the sums.
        device: Device of the sums.
    """

    def __init__(self, layout: Layout, device: torch.device) -> None:
        self.layout = layout
        self.count = 0
        width = 5 + len(layout.sites) + sum(layout.dims.values())
        self.sums = torch.zeros(width, dtype=torch.float64, device=device)

    def add(self, batch: Tensor, count: int) -> None:
        """Add the :func:`sums` of a batch of ``count`` observations, in place, for CUDA graphs.

        Raises:
            SpecError: The batch has other latents than those of the layout.
        """
        try:
            self.sums.add_(batch)
        except RuntimeError as error:  # of another length
            raise SpecError(
                "a batch has other latents than the first one: let the programs have the same "
                "sites for all data, and a mask hide what is not there"
            ) from error
        self.count += count

    @property
    def loss(self) -> Tensor:
        """Sum of the losses; not finite as soon as one of them is not."""
        return self.sums[LOSS]

    def summary(self) -> BoundSummary:
        """The means so far; running sums do not hold their standard error."""
        return replace(
            BoundSummary.of(self.sums, self.layout, self.count), standard_error=math.nan
        )

    def state_dict(self) -> dict[str, Any]:
        """State for :meth:`load_state_dict`."""
        return {"count": self.count, "sums": self.sums.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state."""
        self.count = state["count"]
        self.sums.copy_(state["sums"])

    def reset(self) -> None:
        """Reset the sums to zero."""
        self.count = 0
        self.sums.zero_()
