"""Completeness of the latent space: holes in q(z), and data that samples never reach."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from sklearn.neighbors import LocalOutlierFactor
from torch import Tensor

from pyrovae.compute import chunks
from pyrovae.compute.modes import evaluating
from pyrovae.data import Batch
from pyrovae.errors import DataError, SpecError
from pyrovae.evaluation.batches import batch_of
from pyrovae.evaluation.local import LocalPosterior
from pyrovae.evaluation.results import Number, Variable, percent
from pyrovae.evaluation.significance import fraction_interval
from pyrovae.exploration.latent_space import LatentSpace
from pyrovae.exploration.result import Result
from pyrovae.programs.arguments import options_checked
from pyrovae.programs.autoencoder import Autoencoder
from pyrovae.programs.given_values import as_count
from pyrovae.programs.observed_values import require_x

MIN_DATA = 50
# What a density is said to cover: all but the loneliest hundredth of its own draws.
COVERED = 0.99
# Of more latents, so many are listed among the variables.
MOST_LISTED = 2000

BREUNIG = "the factor is that of Breunig et al. (2000), LOF, SIGMOD; the threshold is ours"


class Share(NamedTuple):
    """Points where a density has hardly any mass, by their outlier factors.

    Attributes:
        outside: True for each point that lies outside, ``(points,)``.
        expected: Expected share if the points were draws of that density too.
        chance: 95th percentile of the share in that case.
    """

    outside: NDArray[Any]
    expected: float
    chance: float

    @property
    def value(self) -> float:
        """The observed share."""
        return float(self.outside.mean())

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval of the share, for this threshold."""
        return fraction_interval(int(self.outside.sum()), len(self.outside))


@dataclass(frozen=True, eq=False, repr=False)
class Samples(Result):
    """Samples from the prior and from the aggregated posterior, side by side.

    Attributes:
        names: Names of the latent dimensions.
        prior_codes: Draws of p(z), ``(data, dims)``, as many as there are data.
        posterior_codes: A draw of q(z | x) for each observation, in their order, ``(data, dims)``.
        holes: Points of ``prior_codes`` where q(z) has hardly any mass.
        missed: Points of ``posterior_codes`` where p(z) has hardly any mass.
        shown: Indices of the latents that were decoded, ``(count,)``, in random order.
        prior_samples: Means of p(x | z) at those of the prior, draws of a table,
            ``(count, *shape)``.
        posterior_samples: The same at those of the aggregated posterior.
        neighbours: Number of neighbours, k.
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
            f"Of {len(holes.outside)} latents drawn from the prior {percent(holes.value)} fall in "
            "holes of the aggregated posterior, where there are no data "
            f"({percent(holes.expected)} are expected if q(z) = p(z), by chance up to "
            f"{percent(holes.chance)}). Of the latents of {len(missed.outside)} data "
            f"{percent(missed.value)} lie where the prior hardly ever draws, so that samples do "
            f"not resemble these data ({percent(missed.expected)} are expected, by chance up to "
            f"{percent(missed.chance)})."
        )

    def numbers(self) -> list[Number]:
        sides = [
            ("holes", self.holes, "draws of p(z)", "latents of other data"),
            ("missed", self.missed, "draws of q(z)", "draws of p(z)"),
        ]
        return [
            Number(
                name,
                share.value,
                "fraction",
                f"share of {points} whose local outlier factor among {others} "
                f"({self.neighbours} neighbours) is larger than for 99 % of these "
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
                ("draw",),
                self.holes.outside[rows],
                "whether q(z) has hardly any mass there",
            ),
            "aggregated": Variable(
                ("obs", "latent"), posterior[rows], f"draws of q(z | x), by observation{first}"
            ),
            "missed": Variable(
                ("obs",),
                self.missed.outside[rows],
                "whether p(z) has hardly any mass there",
            ),
            "shown": Variable(("sample",), self.shown.numpy(), "which of the latents are decoded"),
        }


@options_checked
def sample_both(
    autoencoder: Autoencoder, batch: Any, *, count: int = 64, neighbours: int = 20
) -> Samples:
    r"""Sample from the prior and from the aggregated posterior, and find where they differ.

    .. math::
        p(z) \quad\text{and}\quad q(z) = \frac1N \sum_n q(z \mid x_n)

    A latent counts as outside a density if its local outlier factor among draws of that density is
    larger than the factors of 99 % of further draws. The factor compares the distance to the k
    nearest neighbours with the distances of these to their own. So a gap between dense clusters is
    a hole, and the thin edge of a wide cluster is none. Half of the data give the draws of q(z),
    the others the threshold: where p(z) = q(z), one latent of a hundred is expected to be outside,
    in any space, for point guides too.

    Limits: in many dimensions all distances become alike, and only a latent that is far off is
    detected, so that a small share says little. Distances are Euclidean, in the units of the
    latent; on the sphere they grow with the angle. Discrete latents coincide, and their shares
    mean little.

    Args:
        autoencoder: Model and guide.
        batch: The data; see :func:`pyrovae.exploration.traversal.traverse`.
        count: Latents of each kind to decode, at most as many as there are data.
        neighbours: Number of neighbours, k.

    Raises:
        DataError: There are fewer than 50 data, or latents are not finite.
        SpecError: There are fewer latents than neighbours.

    References:
        Breunig, Kriegel, Ng and Sander (2000), *LOF: Identifying Density-Based Local Outliers*,
        SIGMOD; Rosca et al. (2018), *Distribution Matching in Variational Inference*,
        arXiv:1802.06847 (samples of the prior far from all latents); Kynkäänniemi et al. (2019),
        *Improved Precision and Recall Metric for Assessing Generative Models*, arXiv:1904.06991
        (two shares, one for each direction).
    """
    batch = batch_of("sample_both(vae, data)", autoencoder, batch)
    count = as_count("sample_both", count, "latents")
    neighbours = as_count("sample_both", neighbours, "neighbours")
    _check(len(batch), neighbours)
    names, prior, posterior = _draw_both(autoencoder, batch)
    shown = _order(len(batch))[:count]
    decode = LatentSpace(autoencoder, batch).decode
    if batch.x.ndim == 2:  # a mean has less variance than a row
        decode = partial(_draw_rows, autoencoder, batch[shown.to(batch.device)])
    return Samples(
        names=names,
        prior_codes=prior,
        posterior_codes=posterior,
        holes=outside(prior, posterior, neighbours),
        missed=outside(posterior, prior, neighbours),
        shown=shown,
        prior_samples=decode(prior[shown]),
        posterior_samples=decode(posterior[shown]),
        neighbours=neighbours,
    )


def outside(points: Tensor, draws: Tensor, neighbours: int = 20) -> Share:
    r"""Find the points where a density has hardly any mass.

    With m of the n outlier factors of held-out draws below the threshold, a further draw exceeds
    it with probability :math:`1 - m / (n + 1)` for any continuous distribution, and the number of
    points that do so follows a beta-binomial distribution.

    Args:
        points: Points to classify, ``(points, dims)``.
        draws: Draws of the density, ``(draws, dims)``. A random half is the reference set of the
            neighbours; the other half calibrates the threshold.
        neighbours: Number of neighbours.

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
            f"{data} data are too few to see where their latents lie: {MIN_DATA} are needed"
        )
    if not 1 <= neighbours < data // 2:
        raise SpecError(
            f"neighbours = {neighbours} is impossible among half of {data} latents: choose 1 to "
            f"{data // 2 - 1}, such as 20"
        )


def _draw_both(autoencoder: Autoencoder, batch: Batch) -> tuple[list[str], Tensor, Tensor]:
    """Draw from p(z) and q(z), float64, from one random stream, so that they share no noise."""
    with evaluating(autoencoder, batch.device):
        posterior = [
            LocalPosterior(autoencoder, part).draw_guide(1)[0]
            for part in batch.split(chunks.codes(batch.device))
        ]
        one = LocalPosterior(autoencoder, batch[:1])
        sizes = chunks.draws(1, len(batch), batch.device)
        prior = [one.draw_prior(size)[:, 0] for size in sizes]
    return one.names, _finite(prior, "prior"), _finite(posterior, "guide")


def _draw_rows(autoencoder: Autoencoder, like: Batch, z: Tensor) -> Tensor:
    """Draws from p(x | z), one for each latent, like rows from which totals are taken."""
    with evaluating(autoencoder, like.device):
        local = LocalPosterior(autoencoder, like)
        return require_x(local.draw_data(z.to(like.x)[None]))[0].cpu()


def _finite(parts: list[Tensor], name: str) -> Tensor:
    codes = torch.cat(parts).double().cpu()
    if not codes.isfinite().all():
        raise DataError(f"latents drawn from the {name} are not all finite: fit the model anew")
    return codes


def _order(count: int) -> Tensor:
    """Fixed random order: data are often sorted by class."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(0))
