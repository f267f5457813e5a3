"""Means over a split of the data, gathered batch by batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pyrovae.kl import Kind
from pyrovae.terms import Terms


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


class Tally:
    """Running sums of terms (which are float64), on their device until :meth:`summary`."""

    def __init__(self) -> None:
        self.count = 0
        self.sums: dict[str, Tensor] = {}
        self.kl_kind: dict[str, Kind] = {}

    def add(self, loss: Tensor, terms: Terms, weights: Tensor | None = None) -> None:
        """Take in a batch: its loss per datum and its terms.

        Args:
            loss: As optimised; weights do not change it.
            terms: Of the bound.
            weights: How many data each datum stands for, ``(data,)``; one by default.
        """
        self.count += len(terms.reconstruction)
        if weights is not None:
            self._sum("weight", weights.double().sum())
        self.kl_kind = terms.kl_kind
        self._sum("loss", loss.detach().double() * len(terms.reconstruction))
        self._sum("elbo", _weighed(terms.elbo, weights).sum())
        self._sum("elbo²", _weighed(terms.elbo.square(), weights).sum())
        self._sum("reconstruction", _weighed(terms.reconstruction, weights).sum())
        for site, kl in terms.kl.items():
            self._sum(f"kl/{site}", _weighed(kl, weights).sum())
        for site, kl in terms.kl_per_dim.items():
            self._sum(f"kl_per_dim/{site}", _weighed(kl, weights).sum(0))

    def summary(self) -> Summary:
        """The means so far."""
        total = self.sums.get("weight", self.count)
        mean: dict[str, Any] = {k: (v / total).tolist() for k, v in self.sums.items()}
        kl = {key.removeprefix("kl/"): mean[key] for key in mean if key.startswith("kl/")}
        per_dim = [mean[f"kl_per_dim/{site}"] for site in kl if f"kl_per_dim/{site}" in mean]
        dims = [value for site in per_dim for value in site] if len(per_dim) == len(kl) else None
        variance = max(0.0, mean["elbo²"] - mean["elbo"] ** 2) / max(1, self.count - 1)
        return Summary(
            count=self.count,
            elbo=mean["elbo"],
            standard_error=variance**0.5,
            reconstruction=mean["reconstruction"],
            kl=sum(kl.values()),
            kl_per_site=kl,
            kl_per_dim=dims,
            kl_kind=self.kl_kind,
            loss=(self.sums["loss"] / self.count).item(),
        )

    def state_dict(self) -> dict[str, Any]:
        """What :meth:`load_state_dict` takes."""
        return {
            "count": self.count,
            "kl_kind": self.kl_kind,
            "sums": {k: v.clone() for k, v in self.sums.items()},
        }

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Go on from where another tally was."""
        self.count = state["count"]
        self.kl_kind = state["kl_kind"]
        self.sums = {key: total.to(device) for key, total in state["sums"].items()}

    def _sum(self, key: str, value: Tensor) -> None:
        self.sums[key] = self.sums[key] + value if key in self.sums else value


def _weighed(values: Tensor, weights: Tensor | None) -> Tensor:
    """Values ``(data, *event)``, each datum's times its weight."""
    if weights is None:
        return values
    return values * weights.double().reshape(-1, *(1,) * (values.ndim - 1))
