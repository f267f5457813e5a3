"""Active latent dimensions and mutual information between data and latents."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pyrovae.compute.modes import evaluating
from pyrovae.data import Batch
from pyrovae.evaluation.information import Information, affordable, mutual_information
from pyrovae.evaluation.latent_means import ACTIVE_VARIANCE
from pyrovae.evaluation.latent_use import ACTIVE_KL, LatentUse, latent_use
from pyrovae.evaluation.local import LocalPosterior
from pyrovae.evaluation.results import Check, Number, Variable, Verdict
from pyrovae.programs.autoencoder import Autoencoder

# N data show at most log N nats; a lower bound within this many nats of it has saturated.
MARGIN = 1.0

BURDA = "Burda et al. (2016), arXiv:1509.00519"
POOLE = "Poole et al. (2019), arXiv:1905.06922"


class Bracket(NamedTuple):
    """A lower and an upper bound in nats, with their standard errors.

    Attributes:
        data: Number of data N; the lower bound is at most log N.
    """

    lower: float
    upper: float
    lower_error: float
    upper_error: float
    data: int

    @property
    def open(self) -> bool:
        """True if the lower bound has saturated, so that the data give no upper bound."""
        return self.lower > math.log(self.data) - MARGIN


@dataclass(frozen=True, repr=False)
class Collapse(LatentUse, Check):
    """The use of each latent dimension, and the information in all of them.

    Attributes:
        per_dim: Lower bound on I(x; z_d) in nats, ``(latent,)``; NaN where the guide's marginals
            are not known.
        information: Bracket of I(x; z); None for a point.
    """

    per_dim: NDArray[Any]
    information: Bracket | None

    question = "latent dimensions"

    def verdict(self) -> Verdict:
        active, total = int(self.active.sum()), len(self.active)
        finding = f"{active} of {total} dimensions active"
        if not np.isnan(self.kl).any():
            finding += f" ({int(self.varies.sum())} by variance, {int(self.informs.sum())} by KL)"
        finding += self._information_in_words()
        if active == total:
            return Verdict("ok", finding)
        if active:
            return Verdict("WARN", finding, f"{_FEWER.format(active)}; {_MORE}")
        return Verdict("FAIL", finding, f"the latents say nothing of the data: {_MORE}")

    def numbers(self) -> list[Number]:
        counts = [
            ("active dimensions", self.active, "by both rules that follow, where both apply", ""),
            (
                "active by variance",
                self.varies,
                f"Var_x E_q[z_d] > {ACTIVE_VARIANCE} of the prior's variance (which is 1 there)",
                BURDA,
            ),
        ]
        if not np.isnan(self.kl).all():
            definition = f"mean KL > {ACTIVE_KL} nats, or not known"
            counts.append(("active by KL", self.informs, definition, ""))
        return [
            Number(name, float(chosen.sum()), "dimensions", definition, reference)
            for name, chosen, definition, reference in counts
        ] + self._nats()

    def variables(self) -> dict[str, Variable]:
        dims = ("latent",)
        return {
            "kl": Variable(dims, self.kl, "mean KL(q(z_d | x), p(z_d)) in nats; NaN: no such sum"),
            "mean_variance": Variable(dims, self.mean_variance, "variance over x of E_q[z_d]"),
            "active": Variable(dims, self.active, "active by variance and by KL"),
            "information": Variable(
                dims, self.per_dim, "lower bound on I(x; z_d) in nats; NaN: marginals not known"
            ),
        }

    def _information_in_words(self) -> str:
        if self.information is None:
            return "; a point has no KL and no finite information"
        bracket = self.information
        if bracket.open:
            return (
                f"; I(x; z) at least {bracket.lower:.1f} nats, N = {bracket.data} data cannot "
                f"show more than log N = {math.log(bracket.data):.1f}"
            )
        return f"; I(x; z) {bracket.lower:.2f} to {bracket.upper:.2f} nats"

    def _nats(self) -> list[Number]:
        if self.information is None:
            return []
        low, high, low_error, high_error, data = self.information
        marginal = "mean KL(q(z | x), p(z)) less I(x; z)"
        numbers = [
            Number(
                "KL",
                self.total_kl,
                "nats",
                "mean over data of KL(q(z | x), p(z))",
                error=self.kl_error,
            ),
            Number(
                "I(x; z), lower bound",
                low,
                "nats",
                f"plug-in estimate from {data} data, at most log N = {math.log(data):.2f}",
                POOLE,
                low_error,
            ),
        ]
        if self.information.open:
            most = Number("KL(q(z), p(z)), at most", self.total_kl - low, "nats", marginal)
            return [*numbers, most]
        between = (max(0.0, self.total_kl - high), max(0.0, self.total_kl - low))
        return [
            *numbers,
            Number(
                "I(x; z), upper bound",
                high,
                "nats",
                f"leave-one-out estimate from {data} data",
                POOLE,
                high_error,
            ),
            Number(
                "KL(q(z), p(z))",
                sum(between) / 2,
                "nats",
                f"{marginal}; in the middle between both bounds, which are the interval",
                "Hoffman and Johnson (2016), ELBO Surgery",
                interval=between,
            ),
        ]


_FEWER = (
    "in this fit the others say nothing of the data: model.latent_dim = {} would give the same; "
    "of counts one may be their total, which model.likelihood.kind 'multinomial' is given"
)
_MORE = (
    "to use more dimensions, inference.objective.kind 'free_bits', or inference.beta.kind "
    "'linear' with a longer warmup_epochs"
)


def check_collapse(autoencoder: Autoencoder, batch: Batch) -> Collapse:
    """Count active latent dimensions and bracket the mutual information I(x; z).

    The guide may be a point, which has no KL and no information: only the variance counts then.

    Args:
        autoencoder: Model and guide.
        batch: The data.

    Raises:
        DataError: There are fewer than 20 data.

    References:
        Burda, Grosse and Salakhutdinov (2016), *Importance Weighted Autoencoders*,
        arXiv:1509.00519; Poole et al. (2019), *On Variational Bounds of Mutual Information*,
        arXiv:1905.06922.
    """
    use = latent_use(autoencoder, batch)
    with evaluating(autoencoder, batch.device):
        few = LocalPosterior(autoencoder, batch[: affordable(autoencoder, batch)])
        found = None if few.point else mutual_information(few)
    per_dim = np.full_like(use.kl, np.nan) if found is None else found.per_dim.mean(0).numpy()
    return Collapse(**vars(use), per_dim=per_dim, information=found and _bracket(found))


def _bracket(found: Information) -> Bracket:
    data = len(found.lower)
    return Bracket(
        float(found.lower.mean()),
        float(found.upper.mean()),
        float(found.lower.std()) / math.sqrt(data),
        float(found.upper.std()) / math.sqrt(data),
        data,
    )
