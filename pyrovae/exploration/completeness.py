"""Whether data lie wherever the prior draws codes, and samples reach wherever data lie."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from sklearn.neighbors import LocalOutlierFactor
from torch import Tensor

from pyrovae.compute import chunks
from pyrovae.compute.modes import evaluating
from pyrovae.errors import DataError, SpecError
from pyrovae.evaluation.local import LocalPosterior
from pyrovae.evaluation.results import Number, Variable, percent
from pyrovae.evaluation.significance import fraction_interval
from pyrovae.exploration.latent_space import LatentSpace
from pyrovae.exploration.result import Result
from pyrovae.programs.autoencoder import Autoencoder

MIN_DATA = 50
# What a density is said to cover: all but the loneliest hundredth of its own draws.
COVERED = 0.99
# Of more codes, so many are listed among the variables.
MOST_LISTED = 2000

BREUNIG = "the factor is that of Breunig et al. (2000), LOF, SIGMOD; the threshold is ours"


class Share(NamedTuple):
    """Which points lie where draws of a density never fall.

    Attributes:
        outside: For each point, whether it does, ``(points,)``.
        expected: The share that would if the points were draws of that density too.
        chance: What the share would then exceed in one case of twenty.
    """

    outside: NDArray[Any]
    expected: float
    chance: float

    @property
    def value(self) -> float:
        """The share that was found."""
        return float(self.outside.mean())

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's interval of it, 95 %, for this threshold."""
        return fraction_interval(int(self.outside.sum()), len(self.outside))


@dataclass(frozen=True, eq=False)
class Samples(Result):
    """Samples from the prior and from the aggregated posterior, side by side.

    Attributes:
        names: Of the numbers of a code.
        prior_codes: Draws of p(z), ``(data, dims)``, as many as there are data.
        posterior_codes: A draw of q(z | x) for each datum, in their order, ``(data, dims)``.
        holes: Of ``prior_codes``, those where q(z) has no mass.
        missed: Of ``posterior_codes``, those where p(z) has none.
        shown: Which of both codes were decoded, ``(count,)``, in random order.
        prior_samples: Means of p(x | z) at those of the prior, ``(count, *shape)``.
        posterior_samples: The same at those of the aggregated posterior.
        neighbours: How many neighbours counted.
    """

    names: list[str]
    prior_codes: Tensor
    posterior_codes: Tensor
    holes: Share
    missed: Share
    shown: Tensor
    prior_samples: Tensor
    posterior_samples: Tensor
    neighbours: int

    name = "samples"
    title = "Samples from the prior and from the aggregated posterior"

    def summary(self) -> str:
        holes, missed = self.holes, self.missed
        return (
            f"Of {len(holes.outside)} codes drawn from the prior {percent(holes.value)} fall in "
            "holes, where no datum has its code "
            f"({percent(holes.expected)} would if q(z) were p(z), by chance up to "
            f"{percent(holes.chance)}). Of the codes of {len(missed.outside)} data "
            f"{percent(missed.value)} lie where the prior has none, so that samples never reach "
            f"them ({percent(missed.expected)} expected, by chance up to "
            f"{percent(missed.chance)})."
        )

    def numbers(self) -> list[Number]:
        sides = [
            ("holes", self.holes, "draws of p(z)", "codes of other data"),
            ("missed", self.missed, "draws of q(z)", "draws of p(z)"),
        ]
        return [
            Number(
                name,
                share.value,
                "fraction",
                f"share of {points} whose local outlier factor among {others} "
                f"({self.neighbours} neighbours) is larger than for 99 % of such codes "
                f"themselves; {share.expected:.4f} is expected where p(z) = q(z), and no more "
                f"than {share.chance:.4f} in 95 % of all cases",
                BREUNIG,
                interval=share.interval,
            )
            for name, share, points, others in sides
        ]

    def variables(self) -> dict[str, Variable]:
        rows = slice(MOST_LISTED)
        first = "" if len(self.prior_codes) <= MOST_LISTED else f", the first {MOST_LISTED}"
        prior, posterior = self.prior_codes.numpy(), self.posterior_codes.numpy()
        return {
            "prior": Variable(("draw", "latent"), prior[rows], f"draws of p(z){first}"),
            "in_hole": Variable(
                ("draw",), self.holes.outside[rows], "whether q(z) has no mass at that draw"
            ),
            "aggregated": Variable(
                ("obs", "latent"), posterior[rows], f"a draw of q(z | x) for each datum{first}"
            ),
            "missed": Variable(
                ("obs",), self.missed.outside[rows], "whether p(z) has no mass at that code"
            ),
            "shown": Variable(("sample",), self.shown.numpy(), "which of the codes are decoded"),
        }


def sample_both(
    autoencoder: Autoencoder, x: Tensor, *, count: int = 64, neighbours: int = 20
) -> Samples:
    r"""Samples at codes of the prior and of the aggregated posterior, and where the two differ.

    .. math::
        p(z) \quad\text{and}\quad q(z) = \frac1N \sum_n q(z \mid x_n)

    A code lies where a density has no mass if, among that density's draws, its local outlier
    factor is larger than that of 99 % of further draws: how much farther away its k nearest are
    than theirs are from each other. So a gap between dense clusters is a hole, and the thin edge
    of a wide one is none. Half of the data give the draws of q(z), the others the threshold: where
    p(z) = q(z) one code of a hundred is expected to be outside, whatever the space, and for points
    as well as for densities.

    What it cannot see: in many dimensions all distances become alike, and a code must be far
    off to be called so. A small share then says little, a large one as much as ever. Distances are
    Euclidean, in the units of the code; on the sphere they grow with the angle. Of discrete codes
    many coincide, and the shares mean little.

    Args:
        autoencoder: Model and guide.
        x: Data ``(data, *shape)``, on the autoencoder's device.
        count: Codes of each kind that are decoded; as many as there are data if they are fewer.
        neighbours: How many neighbours count, k.

    Raises:
        DataError: There are fewer than 50 data, or codes are not finite.
        SpecError: There are not so many neighbours.

    References:
        Breunig, Kriegel, Ng and Sander (2000), *LOF: Identifying Density-Based Local Outliers*,
        SIGMOD; Rosca et al. (2018), *Distribution Matching in Variational Inference*,
        arXiv:1802.06847 (samples of the prior where no datum has its code); Kynkäänniemi et al.
        (2019), *Improved Precision and Recall Metric for Assessing Generative Models*,
        arXiv:1904.06991 (two shares, one for each way).
    """
    _check(len(x), neighbours)
    names, prior, posterior = _draw_both(autoencoder, x)
    shown = _order(len(x))[:count]
    space = LatentSpace(autoencoder, x)
    return Samples(
        names=names,
        prior_codes=prior,
        posterior_codes=posterior,
        holes=outside(prior, posterior, neighbours),
        missed=outside(posterior, prior, neighbours),
        shown=shown,
        prior_samples=space.decode(prior[shown]),
        posterior_samples=space.decode(posterior[shown]),
        neighbours=neighbours,
    )


def outside(points: Tensor, draws: Tensor, neighbours: int = 20) -> Share:
    r"""Which points lie where draws of a density never fall.

    With m of the n outlier factors of held-out draws below the threshold, a further draw exceeds
    it with probability :math:`1 - m / (n + 1)`, whatever the density (if it has one), and the
    number of points that do follows a beta-binomial distribution.

    Args:
        points: What is asked about, ``(points, dims)``.
        draws: Of the density, ``(draws, dims)``. One half, at random, is what neighbours are
            looked for in; the other tells what is usual.
        neighbours: How many of them count.

    Example:
        >>> draws = torch.linspace(0, 1, 1000).unsqueeze(-1)
        >>> outside(torch.tensor([[0.5], [2.0]]), draws).outside.tolist()
        [False, True]
    """
    order = _order(len(draws))
    reference, held_out = draws[order].tensor_split(2)
    lonely = LocalOutlierFactor(n_neighbors=neighbours, novelty=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that draws coincide, as discrete ones do
        lonely.fit(reference.numpy())
    usual, found = (-lonely.score_samples(z.numpy()) for z in (held_out, points))
    count = len(usual)
    below = min(count, math.ceil(COVERED * (count + 1)))
    threshold = np.sort(usual)[below - 1]
    null = stats.betabinom(len(points), count + 1 - below, below)
    return Share(
        found > threshold,
        1 - below / (count + 1),
        float(null.ppf(0.95)) / len(points),
    )


def _check(data: int, neighbours: int) -> None:
    if data < MIN_DATA:
        raise DataError(
            f"{data} data are too few to see where their codes lie: {MIN_DATA} are needed"
        )
    if not 1 <= neighbours < data // 2:
        raise SpecError(
            f"neighbours = {neighbours} is impossible among half of {data} codes: choose 1 to "
            f"{data // 2 - 1}, such as 20"
        )


def _draw_both(autoencoder: Autoencoder, x: Tensor) -> tuple[list[str], Tensor, Tensor]:
    """Draws of p(z) and q(z), float64; from one random stream, so that no noise is in both."""
    with evaluating(autoencoder, x.device):
        posterior = [
            LocalPosterior(autoencoder, part).draw_guide(1)[0]
            for part in x.split(chunks.codes(x.device))
        ]
        one = LocalPosterior(autoencoder, x[:1])
        sizes = chunks.draws(1, len(x), x.device)
        prior = [one.draw_prior(size)[:, 0] for size in sizes]
    return one.names, _finite(prior, "prior"), _finite(posterior, "guide")


def _finite(parts: list[Tensor], name: str) -> Tensor:
    codes = torch.cat(parts).double().cpu()
    if not codes.isfinite().all():
        raise DataError(f"codes drawn from the {name} are not all finite: fit the model anew")
    return codes


def _order(count: int) -> Tensor:
    """A random order, always the same: data are often sorted by class."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(0))
