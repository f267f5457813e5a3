"""Active latent dimensions."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray
from torch import Tensor

from pyrovae.compute import chunks
from pyrovae.compute.modes import evaluating
from pyrovae.data import Batch
from pyrovae.errors import DataError
from pyrovae.evaluation.angles import on_plane
from pyrovae.evaluation.latent_means import ACTIVE_VARIANCE
from pyrovae.evaluation.local import LocalPosterior
from pyrovae.objectives.requirements import pairs
from pyrovae.programs.autoencoder import Autoencoder, center
from pyrovae.programs.densities import densities
from pyrovae.programs.traces import Site

# Ours, in nats: as small as the variance of an active dimension's mean.
ACTIVE_KL = 0.01
# Runs of the guide over which means and KL are averaged where there is no closed form.
RUNS = 50
PRIOR_DRAWS = 2000
MIN_DATA = 20


@dataclass(frozen=True, repr=False)
class LatentUse:
    """Use of each latent dimension.

    Attributes:
        names: Names of the dimensions.
        kl: Mean of each dimension's KL in nats, ``(latent,)``; NaN where guide or prior does not
            factorise.
        mean_variance: Variance of E[z_d | x] over the data, ``(latent,)``; for an angle that of
            the mean of (cos z_d, sin z_d).
        prior_variance: Variance of z_d, or of that point, under the prior, ``(latent,)``.
        total_kl: Mean of the KL over all dimensions, in nats; NaN for a point.
        kl_error: Standard error of ``total_kl``.
    """

    names: list[str]
    kl: NDArray[Any]
    mean_variance: NDArray[Any]
    prior_variance: NDArray[Any]
    total_kl: float
    kl_error: float

    @property
    def varies(self) -> NDArray[Any]:
        """Dimensions whose posterior mean varies with the data (Burda et al.)."""
        return self.mean_variance > ACTIVE_VARIANCE * self.prior_variance

    @property
    def informs(self) -> NDArray[Any]:
        """Dimensions whose KL is above :data:`ACTIVE_KL`, or unknown."""
        return ~(self.kl <= ACTIVE_KL)

    @property
    def active(self) -> NDArray[Any]:
        """Dimensions that are active by both rules."""
        return self.varies & self.informs


def latent_use(autoencoder: Autoencoder, batch: Batch | Tensor) -> LatentUse:
    """Variance of the posterior means, and KL, of each latent dimension.

    The guide may be a point, which has no KL: only the variance counts then.

    Args:
        autoencoder: Model and guide.
        batch: The data.

    Raises:
        DataError: There are fewer than 20 data.

    References:
        Burda, Grosse and Salakhutdinov (2016), *Importance Weighted Autoencoders*,
        arXiv:1509.00519.
    """
    batch = Batch.of(batch)
    if len(batch) < MIN_DATA:
        raise DataError(f"{len(batch)} data are too few to see what varies: {MIN_DATA} are needed")
    with evaluating(autoencoder, batch.device):
        few = LocalPosterior(autoencoder, batch[:2])
        parts = [_moments(few, part) for part in batch.split(chunks.codes(batch.device))]
        moments = Moments(*(torch.cat(column) for column in zip(*parts, strict=True)))
        prior_variance = _prior_variance(few, batch)
    noise = moments.noise.mean(0)  # of means that are estimated from draws
    return LatentUse(
        names=few.names,
        kl=moments.kl_per_dim.mean(0).numpy(),
        mean_variance=(moments.mean.var(0).sum(-1) - noise).clamp(min=0).numpy(),
        prior_variance=prior_variance.numpy(),
        total_kl=float(moments.kl.mean()),
        kl_error=float(moments.kl.std()) / math.sqrt(len(batch)),
    )


class Moments(NamedTuple):
    """Moments of q(z | x) for each observation, float64 on the CPU.

    Attributes:
        mean: E[z | x], ``(data, dims, 2)``, as points of the plane, where angles are on the
            circle and other numbers on the line.
        noise: Variance of the error of ``mean``, ``(data, dims)``; zero where it is exact.
        kl: KL from the prior, ``(data,)``; NaN for a point.
        kl_per_dim: KL of each dimension, ``(data, dims)``; NaN where the KL is not their sum.
    """

    mean: Tensor
    noise: Tensor
    kl: Tensor
    kl_per_dim: Tensor


def _moments(local: LocalPosterior, batch: Batch) -> Moments:
    """Averages over runs of the guide, of closed forms where each run has them."""
    runs = [_run(local, batch) for _ in range(2)]
    if any(not a.equal(b) for a, b in zip(*map(_without_nan, runs), strict=True)):
        runs += [_run(local, batch) for _ in range(RUNS - 2)]
    mean, kl, kl_per_dim = (torch.stack(column) for column in zip(*runs, strict=True))
    noise = mean.var(0).sum(-1) / len(runs)
    return Moments(mean.mean(0), noise, kl.mean(0), kl_per_dim.mean(0))


def _run(local: LocalPosterior, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Means, KL, and KL per dimension, from one run; the last NaN if the KL is no sum."""
    traces = local.autoencoder.traces(batch)
    found = densities([traces], len(batch), sampled=False)
    means, per_dims = [], []
    angles = local.angles.split([shape.numel() for shape in local.shapes.values()])
    for name, angular in zip(local.shapes, angles, strict=True):
        q: Site = traces.guide.nodes[name]
        site = found.sites[name]
        mean = (
            (q["value"] if angular.any() else center(q["fn"], q["value"]))
            .double()
            .reshape(len(batch), -1)
        )
        each = site.kl_per_dim if mean.shape[1] > 1 or site.kl is None else site.kl.unsqueeze(-1)
        if each is None or site.kl_kind == "point" or each[0].shape != mean.shape:
            each = torch.full_like(mean, torch.nan).unsqueeze(0)
        means.append(on_plane(mean, angular))
        per_dims.append(each[0])
    total = torch.full_like(found.kl[0], torch.nan) if local.point else found.kl[0]
    return torch.cat(means, 1).cpu(), total.cpu(), torch.cat(per_dims, -1).cpu()


def _without_nan(run: tuple[Tensor, ...]) -> list[Tensor]:
    return [part.nan_to_num() for part in run]


def _prior_variance(local: LocalPosterior, batch: Batch) -> Tensor:
    """Prior variance of each latent dimension: in closed form, else of draws."""
    angles = local.angles
    found = list(pairs(local.autoencoder, batch[:2]).values())
    # One of several sites may depend on another, or on a discrete latent of the model alone.
    if len(found) == 1 and found[0].closes and not angles.any():
        with suppress(NotImplementedError):
            first, second = found[0].p.variance.double().reshape(2, -1).cpu()
            if first.isfinite().all() and torch.equal(first, second):
                return first
    few = LocalPosterior(local.autoencoder, batch[:MIN_DATA])
    sizes = chunks.draws(len(few), PRIOR_DRAWS // len(few), batch.device)
    drawn = torch.cat([few.draw_prior(size) for size in sizes]).double().flatten(0, 1)
    return on_plane(drawn, angles).var(0).sum(-1).cpu()
