"""Which latent dimensions say anything of the data, and how much all of them say."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyrovae.compute import chunks
from pyrovae.compute.modes import evaluating
from pyrovae.errors import DataError
from pyrovae.evaluation.angles import on_plane
from pyrovae.evaluation.codes import ACTIVE_VARIANCE
from pyrovae.evaluation.information import Information, affordable, mutual_information
from pyrovae.evaluation.local import LocalPosterior
from pyrovae.evaluation.results import Check, Number, Variable, Verdict
from pyrovae.objectives.requirements import pairs
from pyrovae.programs.autoencoder import Autoencoder
from pyrovae.programs.densities import densities
from pyrovae.programs.traces import Site

# Ours, in nats: as small as the variance above.
ACTIVE_KL = 0.01
# Runs of the guide that means and KL are averaged over, where no closed form gives them.
RUNS = 50
PRIOR_DRAWS = 2000
MIN_DATA = 20
# From N data no more than log N nats can be shown; this far below, a bracket is one.
MARGIN = 1.0

BURDA = "Burda et al. (2016), arXiv:1509.00519"
POOLE = "Poole et al. (2019), arXiv:1905.06922"


class Bracket(NamedTuple):
    """A lower and an upper bound in nats, with their standard errors.

    Attributes:
        data: How many it is of; the lower bound is at most their logarithm.
    """

    lower: float
    upper: float
    lower_error: float
    upper_error: float
    data: int

    @property
    def open(self) -> bool:
        """Whether there are too few data to see how much there is at most."""
        return self.lower > math.log(self.data) - MARGIN


@dataclass(frozen=True)
class Collapse(Check):
    """What each dimension of the code carries.

    Attributes:
        names: Of the dimensions.
        kl: Mean of each dimension's KL in nats, ``(latent,)``; NaN where guide or prior does not
            factorise.
        mean_variance: Variance of E[z_d | x] over the data, ``(latent,)``; of an angle that of
            the mean of (cos z_d, sin z_d).
        prior_variance: Variance of z_d, or of that point, under the prior, ``(latent,)``.
        per_dim: Lower bound on I(x; z_d) in nats, ``(latent,)``; NaN where the guide's marginals
            are not known.
        total_kl: Mean of the KL of the whole code, in nats; NaN for a point.
        kl_error: Its standard error.
        information: Bracket of I(x; z); None for a point.
    """

    names: list[str]
    kl: NDArray[Any]
    mean_variance: NDArray[Any]
    prior_variance: NDArray[Any]
    per_dim: NDArray[Any]
    total_kl: float
    kl_error: float
    information: Bracket | None

    question = "latent dimensions"

    @property
    def varies(self) -> NDArray[Any]:
        """Which dimensions' means vary with the data: the rule of Burda et al."""
        return self.mean_variance > ACTIVE_VARIANCE * self.prior_variance

    @property
    def informs(self) -> NDArray[Any]:
        """Which dimensions' KL is more than nothing; all whose KL is not known."""
        return ~(self.kl <= ACTIVE_KL)

    @property
    def active(self) -> NDArray[Any]:
        """Which dimensions are active by both rules."""
        return self.varies & self.informs

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
        return Verdict("FAIL", finding, f"the code says nothing of the data: {_MORE}")

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
        marginal = "mean KL(q(z | x), p(z)) less I(x; z): how far q(z) is from p(z)"
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


_FEWER = "model.latent_dim = {} would carry as much"
_MORE = (
    "to use more dimensions, inference.objective.kind 'free_bits', or inference.beta.kind "
    "'linear' with a longer warmup_epochs"
)


def check_collapse(autoencoder: Autoencoder, x: Tensor) -> Collapse:
    """Which dimensions of the code are active, and how much they say of the data.

    Works for points as well, whose codes vary or do not; they have no KL and no information.

    Args:
        autoencoder: Model and guide.
        x: Data ``(obs, *shape)``.

    Raises:
        DataError: There are fewer than 20 data.

    References:
        Burda, Grosse and Salakhutdinov (2016), *Importance Weighted Autoencoders*,
        arXiv:1509.00519; Poole et al. (2019), *On Variational Bounds of Mutual Information*,
        arXiv:1905.06922.
    """
    if len(x) < MIN_DATA:
        raise DataError(f"{len(x)} data are too few to see what varies: {MIN_DATA} are needed")
    with evaluating(autoencoder, x.device):
        few = LocalPosterior(autoencoder, x[:2])
        parts = [_moments(few, part) for part in x.split(chunks.codes(x.device))]
        moments = Moments(*(torch.cat(column) for column in zip(*parts, strict=True)))
        prior_variance = _prior_variance(few, x)
        bracket, per_dim = None, torch.full_like(prior_variance, torch.nan)
        if not few.point:
            found = mutual_information(
                LocalPosterior(autoencoder, x[: affordable(autoencoder, x)])
            )
            bracket, per_dim = _bracket(found), found.per_dim.mean(0)
    noise = moments.noise.mean(0)  # of the means, where they are of draws
    return Collapse(
        names=few.names,
        kl=moments.kl_per_dim.mean(0).numpy(),
        mean_variance=(moments.mean.var(0).sum(-1) - noise).clamp(min=0).numpy(),
        prior_variance=prior_variance.numpy(),
        per_dim=per_dim.numpy(),
        total_kl=float(moments.kl.mean()),
        kl_error=float(moments.kl.std()) / math.sqrt(len(x)),
        information=bracket,
    )


class Moments(NamedTuple):
    """Of q(z | x) for each datum, float64 on the CPU.

    Attributes:
        mean: E[z | x], ``(data, dims, 2)``, as points of the plane, where angles are on the
            circle and other numbers on the line.
        noise: Variance of the error of ``mean``, ``(data, dims)``; zero where the guide knows it.
        kl: KL from the prior, ``(data,)``; NaN for a point.
        kl_per_dim: The same for each dimension, ``(data, dims)``; NaN where it is no sum.
    """

    mean: Tensor
    noise: Tensor
    kl: Tensor
    kl_per_dim: Tensor


def _moments(local: LocalPosterior, x: Tensor) -> Moments:
    """Averages over runs of the guide: what each run knows in closed form is averaged as such."""
    runs = [_run(local, x) for _ in range(2)]
    if any(not a.equal(b) for a, b in zip(*map(_without_nan, runs), strict=True)):
        runs += [_run(local, x) for _ in range(RUNS - 2)]
    mean, kl, kl_per_dim = (torch.stack(column) for column in zip(*runs, strict=True))
    noise = mean.var(0).sum(-1) / len(runs)
    return Moments(mean.mean(0), noise, kl.mean(0), kl_per_dim.mean(0))


def _run(local: LocalPosterior, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Means, KL, and KL of each dimension, from one run; a dimension's is NaN if it is no sum."""
    traces = local.autoencoder.traces(x)
    found = densities([traces], len(x), sampled=False)
    means, per_dims = [], []
    angles = local.angles.split([shape.numel() for shape in local.shapes.values()])
    for name, angular in zip(local.shapes, angles, strict=True):
        q: Site = traces.guide.nodes[name]
        site = found.sites[name]
        mean = (q["value"] if angular.any() else _mean(q)).double().reshape(len(x), -1)
        each = site.kl_per_dim if mean.shape[1] > 1 or site.kl is None else site.kl.unsqueeze(-1)
        if each is None or site.kl_kind == "point" or each[0].shape != mean.shape:
            each = torch.full_like(mean, torch.nan).unsqueeze(0)
        means.append(on_plane(mean, angular))
        per_dims.append(each[0])
    total = torch.full_like(found.kl[0], torch.nan) if local.point else found.kl[0]
    return torch.cat(means, 1).cpu(), total.cpu(), torch.cat(per_dims, -1).cpu()


def _without_nan(run: tuple[Tensor, ...]) -> list[Tensor]:
    return [part.nan_to_num() for part in run]


def _mean(site: Site) -> Tensor:
    """The mean, or the draw where a distribution, such as a flow, has none that is known."""
    try:
        mean = site["fn"].mean
    except NotImplementedError:
        return site["value"]
    return torch.where(mean.isfinite(), mean, site["value"])


def _prior_variance(local: LocalPosterior, x: Tensor) -> Tensor:
    """Of each number of a code: as the prior knows it, else that of draws."""
    angles = local.angles
    found = [pair.p for pair in pairs(local.autoencoder, x[:2]).values()]
    if len(found) == 1 and not angles.any():  # of several, one may depend on another
        with suppress(NotImplementedError):
            first, second = found[0].variance.double().reshape(2, -1).cpu()
            if first.isfinite().all() and torch.equal(first, second):
                return first
    few = LocalPosterior(local.autoencoder, x[:MIN_DATA])
    sizes = chunks.draws(len(few), PRIOR_DRAWS // len(few), x.device)
    drawn = torch.cat([few.draw_prior(size) for size in sizes]).double().flatten(0, 1)
    return on_plane(drawn, angles).var(0).sum(-1).cpu()


def _bracket(found: Information) -> Bracket:
    data = len(found.lower)
    return Bracket(
        float(found.lower.mean()),
        float(found.upper.mean()),
        float(found.lower.std()) / math.sqrt(data),
        float(found.upper.std()) / math.sqrt(data),
        data,
    )
