"""Whether data lie wherever the prior draws codes, and samples reach wherever data lie."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray
from scipy import stats
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from pyrovae import chunks
from pyrovae.autoencoder import Autoencoder
from pyrovae.diagnosis.check import Number, Variable, percent
from pyrovae.diagnosis.local import LocalPosterior
from pyrovae.diagnosis.significance import fraction_interval
from pyrovae.errors import DataError, SpecError
from pyrovae.evaluation import evaluating
from pyrovae.exploration.finding import Finding
from pyrovae.exploration.latent_space import LatentSpace

MIN_DATA = 50
# What a density is said to cover: all but the farthest hundredth of its own draws.
COVERED = 0.99
# Of more codes, so many are listed among the variables.
MOST_LISTED = 2000

KYNKAANNIEMI = "the idea is that of Kynkäänniemi et al. (2019), arXiv:1904.06991"


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
class Samples(Finding):
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
        neighbours: To the how many-th nearest code a distance is.
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
        distance = f"distance to the nearest but {self.neighbours - 1}"
        if self.neighbours == 1:
            distance = "distance to the nearest"
        return [
            Number(
                name,
                share.value,
                "fraction",
                f"share of {points} whose {distance} of {others} is larger than for 99 % of such "
                f"codes themselves; {share.expected:.4f} is expected where p(z) = q(z), and no "
                f"more than {share.chance:.4f} in 95 % of all cases",
                KYNKAANNIEMI,
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
    autoencoder: Autoencoder, x: Tensor, *, count: int = 64, neighbours: int = 5
) -> Samples:
    r"""Samples at codes of the prior and of the aggregated posterior, and where the two differ.

    .. math::
        p(z) \quad\text{and}\quad q(z) = \frac1N \sum_n q(z \mid x_n)

    A code lies where a density has no mass if its distance to the k-th nearest of that
    density's draws is larger than for 99 % of further draws. Half of the data give the draws of
    q(z), the others the threshold, so that where p(z) = q(z) one code of a hundred is expected to
    be outside, whatever the space, and for points as well as for densities.

    What it cannot see: one threshold holds everywhere and is that of the thinnest parts of a
    density, so that gaps between dense clusters that are narrower than this count as covered. In
    many dimensions all distances become alike, and the radius is as wide as the cloud of codes:
    a small share then says little, a large one as much as ever. Distances are Euclidean, in the
    units of the code; on the sphere they grow with the angle. Discrete codes, many of which
    coincide, have fewer outside than expected.

    Args:
        autoencoder: Model and guide.
        x: Data ``(data, *shape)``, on the autoencoder's device.
        count: Codes of each kind that are decoded; as many as there are data if they are fewer.
        neighbours: Which neighbour distances are to, k.

    Raises:
        DataError: There are fewer than 50 data, or codes are not finite.
        SpecError: There are not so many neighbours.

    References:
        Rosca et al. (2018), *Distribution Matching in Variational Inference*, arXiv:1802.06847
        (samples of the prior where no datum has its code); Kynkäänniemi et al. (2019), *Improved
        Precision and Recall Metric for Assessing Generative Models*, arXiv:1904.06991 (nearest
        neighbours as the support of a density).
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


def outside(points: Tensor, draws: Tensor, neighbours: int = 5) -> Share:
    r"""Which points lie where draws of a density never fall.

    With m of the n distances of held-out draws below the threshold, a further draw exceeds it
    with probability :math:`1 - m / (n + 1)`, whatever the density (if it has one), and the number
    of points that do follows a beta-binomial distribution.

    Args:
        points: What is asked about, ``(points, dims)``.
        draws: Of the density, ``(draws, dims)``. One half, at random, is what neighbours are
            looked for in; the other tells how far away they usually are.
        neighbours: To the how many-th neighbour distances are.

    Example:
        >>> draws = torch.linspace(0, 1, 1000).unsqueeze(-1)
        >>> outside(torch.tensor([[0.5], [2.0]]), draws).outside.tolist()
        [False, True]
    """
    order = _order(len(draws))
    reference, held_out = draws[order].tensor_split(2)
    search = NearestNeighbors(n_neighbors=neighbours).fit(reference.numpy())
    usual = torch.from_numpy(search.kneighbors(held_out.numpy())[0][:, -1])
    found = torch.from_numpy(search.kneighbors(points.numpy())[0][:, -1])
    count = len(usual)
    below = min(count, math.ceil(COVERED * (count + 1)))
    threshold = usual.kthvalue(below).values
    null = stats.betabinom(len(points), count + 1 - below, below)
    return Share(
        (found > threshold).numpy(),
        1 - below / (count + 1),
        float(null.ppf(0.95)) / len(points),
    )


def _check(data: int, neighbours: int) -> None:
    if data < MIN_DATA:
        raise DataError(
            f"{data} data are too few to see where their codes lie: {MIN_DATA} are needed"
        )
    if not 1 <= neighbours <= data // 2:
        raise SpecError(
            f"neighbours = {neighbours} is impossible among half of {data} codes: choose 1 to "
            f"{data // 2}, such as 5"
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
