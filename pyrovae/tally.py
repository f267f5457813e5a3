"""Means over a split of the data, gathered batch by batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pyrovae.kl import Kind
from pyrovae.terms import Terms

LOSS = 1  # where the loss is among the sums


class Layout(NamedTuple):
    """What the numbers of :func:`sums` are, which is the same for every batch.

    Attributes:
        sites: Names of the latent sites.
        dims: Of those whose KL is a sum over dimensions, how many.
        kl_kind: For each latent site, how its KL is had.
    """

    sites: tuple[str, ...]
    dims: dict[str, int]
    kl_kind: dict[str, Kind]

    @classmethod
    def of(cls, terms: Terms) -> Layout:
        """That of the sums of such terms."""
        dims = {site: kl.shape[1:].numel() for site, kl in terms.kl_per_dim.items()}
        return cls(tuple(terms.kl), dims, terms.kl_kind)


@dataclass(frozen=True)
class Summary:
    """The bound over a split, in nats per datum.

    Attributes:
        count: Number of data.
        elbo: At β = 1; reconstruction minus KL.
        standard_error: Of ``elbo``, over data.
        reconstruction: Mean of log p(x | z).
        kl: Over all latent sites.
        kl_per_site: For each latent site.
        kl_per_dim: For each latent dimension, sites one after the other; None when some
            site's KL is not a sum over its dimensions.
        kl_kind: For each latent site, whether ``kl`` is "exact", "sampled", or of a "point".
        loss: What was optimised, at the β of the time.
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
    def of(cls, totals: Tensor, layout: Layout, count: int) -> Summary:
        """From the :func:`sums` over ``count`` data."""
        weight, loss, *_ = totals.tolist()
        elbo, elbo_squared, reconstruction, *rest = (totals[2:] / weight).tolist()
        sites = layout.sites
        kl, per_dim = dict(zip(sites, rest, strict=False)), rest[len(sites) :]
        variance = max(0.0, elbo_squared - elbo**2) / max(1, count - 1)
        return cls(
            count=count,
            elbo=elbo,
            standard_error=variance**0.5,
            reconstruction=reconstruction,
            kl=sum(kl.values()),
            kl_per_site=kl,
            kl_per_dim=per_dim if len(layout.dims) == len(sites) else None,
            kl_kind=layout.kl_kind,
            loss=loss / count,
        )


def sums(loss: Tensor, terms: Terms, weights: Tensor | None = None) -> Tensor:
    """A batch's loss and terms summed over its data, side by side in one float64 vector.

    In this order: the data's weights, loss, ELBO, ELBO squared, reconstruction, KL of each site,
    KL of each dimension of the sites that have them.

    Args:
        loss: Per datum, as optimised; weights do not change it.
        terms: Of the bound.
        weights: How many data each datum stands for, ``(data,)``; one by default.
    """
    elbo, count = terms.elbo, len(terms.reconstruction)
    columns = [elbo, elbo.square(), terms.reconstruction, *terms.kl.values()]
    table = torch.cat(
        [torch.stack(columns, 1), *(kl.flatten(1) for kl in terms.kl_per_dim.values())], 1
    )
    if weights is not None:
        table = table * weights.double().unsqueeze(1)
    total = table.new_full((), count) if weights is None else weights.double().sum()
    head = torch.stack([total, loss.detach().double() * count])
    return torch.cat([head, table.sum(0)])


class Tally:
    """Running :func:`sums`, on their device until :meth:`summary`.

    Args:
        layout: Of the sums.
        device: Where they are.
    """

    def __init__(self, layout: Layout, device: torch.device) -> None:
        self.layout = layout
        self.count = 0
        width = 5 + len(layout.sites) + sum(layout.dims.values())
        self.sums = torch.zeros(width, dtype=torch.float64, device=device)

    def add(self, batch: Tensor, count: int) -> None:
        """Take in the :func:`sums` of a batch of so many data; in place, so that graphs see it."""
        self.sums.add_(batch)
        self.count += count

    @property
    def loss(self) -> Tensor:
        """The sum of the losses; not finite as soon as one of them is not."""
        return self.sums[LOSS]

    def summary(self) -> Summary:
        """The means so far."""
        return Summary.of(self.sums, self.layout, self.count)

    def state_dict(self) -> dict[str, Any]:
        """What :meth:`load_state_dict` takes."""
        return {"count": self.count, "sums": self.sums.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from where another tally was."""
        self.count = state["count"]
        self.sums.copy_(state["sums"])

    def reset(self) -> None:
        """Begin anew."""
        self.count = 0
        self.sums.zero_()
