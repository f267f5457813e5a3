"""Latent interpolation between observations, on a line and on an arc."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyrovae.compute import chunks
from pyrovae.compute.modes import evaluating
from pyrovae.data import Batch
from pyrovae.errors import DataError
from pyrovae.evaluation.batches import batch_of
from pyrovae.evaluation.local import LocalPosterior
from pyrovae.evaluation.results import Number, Variable
from pyrovae.exploration.decoder_change import changes, distance
from pyrovae.exploration.latent_paths import arc, codes_on, line
from pyrovae.exploration.latent_space import LatentSpace
from pyrovae.exploration.result import Result
from pyrovae.parts.distributions.von_mises_fisher import unit
from pyrovae.programs.arguments import options_checked
from pyrovae.programs.autoencoder import Autoencoder
from pyrovae.programs.given_values import as_count

Array = NDArray[Any]

WHITE = "White (2016), arXiv:1609.04468"


@dataclass(frozen=True, eq=False, repr=False)
class Interpolations(Result):
    """Outputs along two paths between the latents of pairs of observations.

    Attributes:
        ways: "linear" and, where there is more than one latent dimension, "spherical".
        codes: ``(ways, pairs, steps, dims)``.
        change: Root mean squared change of the output per value at each step, in units of the
            data, ``(ways, pairs, steps - 1)``.
        straight: The same between both ends, ``(pairs,)``.
        log_prior: log p(z) in nats along the paths, ``(ways, pairs, steps)``.
        images: Means of p(x | z), ``(ways, pairs, steps, *shape)``.
        ends: The observations themselves, ``(pairs, 2, *shape)``.
    """

    ways: tuple[str, ...]
    codes: Array
    change: Array
    straight: Array
    log_prior: Array
    images: Tensor
    ends: Tensor

    name: ClassVar[str] = "interpolations"
    title: ClassVar[str] = "Interpolations"

    @property
    def path_length(self) -> Array:
        """Sum of the changes, ``(ways, pairs)``."""
        return self.change.sum(-1)

    @property
    def unevenness(self) -> Array:
        """The largest change over the mean, ``(ways, pairs)``; 1 if even, NaN if there is none."""
        return _ratio(self.change.max(-1), self.change.mean(-1))

    @property
    def detour(self) -> Array:
        """Length of the path over the distance of its ends, ``(ways, pairs)``; at least 1."""
        return np.where(self.path_length > 0, _ratio(self.path_length, self.straight), np.nan)

    @property
    def density_gain(self) -> Array:
        """Mean log p(z) between the ends minus that at the ends, in nats, ``(ways, pairs)``."""
        return self.log_prior[..., 1:-1].mean(-1) - self.log_prior[..., [0, -1]].mean(-1)

    def summary(self) -> str:
        pairs = len(self.ends)
        largest, length = (
            " and ".join(
                f"{_spelled(values)} ({way})" for way, values in zip(self.ways, of, strict=True)
            )
            for of in (self.unevenness, self.detour)
        )
        text = (
            f"On the way from one output to the other, in {pairs} "
            f"{'pair' if pairs == 1 else 'pairs'} of data, the largest step is {largest} times "
            f"the mean step, and the way is {length} times as long as the straight line. A "
            "cross-fade would have 1 and 1."
        )
        still = int((self.path_length == 0).all(0).sum())
        if still:
            text += f" The output of {still} of them does not change at all: these are left out."
        if len(self.ways) == 1:
            text += " With one latent dimension there is no arc: only the straight line is taken."
        return text

    def numbers(self) -> list[Number]:
        found = []
        for number, way in enumerate(self.ways):
            for name, values, unit_, definition in self._measured(number):
                mean, error = _mean(values)
                reference = WHITE if way == "spherical" else ""
                found.append(Number(f"{name}, {way}", mean, unit_, definition, reference, error))
        return found

    def variables(self) -> dict[str, Variable]:
        way, path = ("way", "pair"), ("way", "pair", "step")
        change = "root mean squared change of E[x | z] per value, in units of the data"
        return {
            "way": Variable(("way",), np.array(self.ways), "kind of path"),
            "code": Variable((*path, "latent"), self.codes, "latents on the path"),
            "change": Variable((*way, "pair of steps"), self.change, change),
            "straight": Variable(("pair",), self.straight, f"{change}, between both ends"),
            "unevenness": Variable(way, self.unevenness, _UNEVENNESS),
            "detour": Variable(way, self.detour, _DETOUR),
            "log_prior": Variable(path, self.log_prior, "log p(z) in nats"),
        }

    def _measured(self, way: int) -> list[tuple[str, Array, str, str]]:
        return [
            ("change per step", self.change[way].mean(-1), "data units", _CHANGE),
            ("largest step over mean step", self.unevenness[way], "", _UNEVENNESS),
            ("path over distance of its ends", self.detour[way], "", _DETOUR),
            ("log p(z) on the way", self.density_gain[way], "nats", _DENSITY_GAIN),
        ]


_CHANGE = "root mean squared change of E[x | z] per value from step to step; mean over pairs"
_UNEVENNESS = (
    "the output's largest change in a step over the mean of all steps: 1 if it changes evenly, "
    "as many as there are steps if it jumps; mean over pairs"
)
_DETOUR = (
    "length of the output's path over the distance of its ends: 1 if it is straight; mean over "
    "pairs"
)
_DENSITY_GAIN = (
    "mean of log p(z) between the ends minus its mean at the ends; mean over pairs. Straight "
    "lines lead closer to the centre, where a high-dimensional prior has hardly any mass"
)


@options_checked
def interpolate(
    autoencoder: Autoencoder, batch: Any, *, pairs: int = 6, steps: int = 11
) -> Interpolations:
    """Decode paths between the latents of consecutive data: x[0] to x[1], x[2] to x[3], ...

    Latents, means of q(z | x) or draws where no mean is known, are joined by a straight line and
    by an arc about the origin. On the sphere the line is projected onto it, and the arc is the
    great circle. One latent dimension has no arc.

    Args:
        autoencoder: Model and guide.
        batch: The data; see :func:`pyrovae.exploration.traversal.traverse`. Of an odd number the
            last is not used.
        pairs: Most pairs to use.
        steps: Points on each path, the ends included.

    Raises:
        DataError: There are fewer than two data.
        SpecError: There is no pair, there are fewer than three steps, or latents cannot be moved.

    References:
        Shoemake (1985), *Animating Rotation with Quaternion Curves*; White (2016), *Sampling
        Generative Networks*, arXiv:1609.04468.
    """
    data = batch_of("interpolate(vae, data)", autoencoder, batch)
    if len(data) < 2:
        raise DataError(f"{len(data)} data: at least 2 are needed, to move from one to the other")
    pairs = as_count("interpolate", pairs, "pairs")
    steps = as_count("interpolate", steps, "steps", least=3)
    batch = data[: 2 * min(pairs, len(data) // 2)]
    space = LatentSpace(autoencoder, batch)
    z = codes_on(space, batch)
    ways = _ways(space)
    codes = torch.stack([join(z[0::2], z[1::2], steps) for join in ways.values()])
    images = space.decode(codes.flatten(0, 2)).unflatten(0, codes.shape[:3])
    dims = batch.x.ndim - 1
    return Interpolations(
        ways=tuple(ways),
        codes=codes.numpy(),
        change=changes(images, dims).numpy(),
        straight=distance(images[0, :, 0], images[0, :, -1], dims).numpy(),
        log_prior=_log_prior(autoencoder, batch[:1], codes).numpy(),
        images=images,
        ends=batch.x.unflatten(0, (-1, 2)).cpu(),
    )


def _ways(space: LatentSpace) -> dict[str, Callable[[Tensor, Tensor, int], Tensor]]:
    if space.spherical:
        return {"linear": lambda a, b, steps: unit(line(a, b, steps)), "spherical": arc}
    return {"linear": line} if space.dims == 1 else {"linear": line, "spherical": arc}


def _log_prior(autoencoder: Autoencoder, one: Batch, codes: Tensor) -> Tensor:
    """Log p(z) of latents ``(*batch, dims)``, float64 on the CPU."""
    with evaluating(autoencoder, one.device):
        local = LocalPosterior(autoencoder, one)
        parts = codes.flatten(0, -2).unsqueeze(1).split(chunks.codes(one.device))
        found = [local.log_model(part.to(one.x))[0] for part in parts]
    return torch.cat(found).cpu().reshape(codes.shape[:-1])


def _ratio(numerator: Array, denominator: Array) -> Array:
    """Ratio, NaN where the denominator is zero."""
    return numerator / np.where(denominator > 0, denominator, np.nan)


def _mean(values: Array) -> tuple[float, float | None]:
    """Mean of the values that are not NaN, with its standard error."""
    known = values[np.isfinite(values)]
    if not len(known):
        return math.nan, None
    error = float(known.std(ddof=1)) / math.sqrt(len(known)) if len(known) > 1 else None
    return float(known.mean()), error


def _spelled(values: Array) -> str:
    mean, error = _mean(values)
    return f"{mean:.2f}" if error is None else f"{mean:.2f} ± {error:.2f}"
