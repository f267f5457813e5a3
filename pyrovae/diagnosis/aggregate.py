"""Two-sample comparison of the aggregated posterior with the prior."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from pyrovae.compute import chunks
from pyrovae.compute.modes import evaluating
from pyrovae.data import Batch
from pyrovae.errors import DataError
from pyrovae.evaluation.angles import unwrapped
from pyrovae.evaluation.local import LocalPosterior
from pyrovae.evaluation.results import Check, Grade, Number, Variable, Verdict, grade, worse
from pyrovae.evaluation.significance import holm, p_value
from pyrovae.programs.autoencoder import Autoencoder

# Ours: largest distance of two distribution functions, and of two correlations.
DISTANCE_WARN, DISTANCE_FAIL = 0.1, 0.2
CORRELATION_WARN = 0.3
# Chance that a difference is called one when there is none.
LEVEL = 0.05
MIN_DATA = 20
# A correlation of one is a transformed one that is infinite.
LARGEST = 1 - 1e-9
# Decimals of log p(z) in nats: a constant density differs by rounding errors only.
DECIMALS = 4

HOFFMAN = "Hoffman and Johnson (2016), ELBO Surgery"


@dataclass(frozen=True, repr=False)
class Aggregate(Check):
    """One latent from the guide and one from the prior for each observation.

    Attributes:
        names: Names of the dimensions.
        aggregated: Draws of q(z), the mean of q(z | x) over the data, ``(obs, latent)``.
        prior: Draws of p(z), ``(obs, latent)``.
        log_prior_aggregated: log p(z) of the former in nats, ``(obs,)``.
        log_prior_prior: log p(z) of the latter in nats, ``(obs,)``.
    """

    names: list[str]
    aggregated: NDArray[Any]
    prior: NDArray[Any]
    log_prior_aggregated: NDArray[Any]
    log_prior_prior: NDArray[Any]

    question = "aggregated posterior"

    @property
    def distances(self) -> NDArray[Any]:
        """Kolmogorov-Smirnov distance of each dimension, ``(latent,)``."""
        return self._tests[:-1, 0]

    @property
    def density_distance(self) -> float:
        """Kolmogorov-Smirnov distance of log p(z); for a standard normal prior, of the radius."""
        return float(self._tests[-1, 0])

    @property
    def p_values(self) -> NDArray[Any]:
        """Holm-adjusted p-values of each dimension and of log p(z), ``(latent + 1,)``."""
        return holm(self._tests[:, 1])

    @property
    def correlations(self) -> tuple[float, float]:
        """Largest correlation between two dimensions, of draws of the guide and of the prior."""
        ours, prior = (np.abs(_correlations(z)).max() for z in (self.aggregated, self.prior))
        return float(ours), float(prior)

    @property
    def correlation_difference(self) -> float:
        """Largest difference between q(z) and p(z) in the correlation of two dimensions."""
        return float(np.abs(_correlations(self.aggregated) - _correlations(self.prior)).max())

    def verdict(self) -> Verdict:
        distances, p = self._tests[:, 0], self.p_values
        found = distances[p < LEVEL].max(initial=0.0)
        grade_ = worse(grade(found, DISTANCE_WARN, DISTANCE_FAIL), self._correlation_grade())
        farthest = int(self.distances.argmax())
        ours, prior = self.correlations
        finding = (
            f"{self.names[farthest]} is {self.distances[farthest]:.2f} from the prior "
            f"({p_value(p[farthest])}), log p(z) {self.density_distance:.2f} ({p_value(p[-1])}), "
            f"by Kolmogorov-Smirnov on {len(self.aggregated)} latents, p adjusted for {len(p)} "
            "tests"
        )
        if len(self.names) > 1:
            finding += f"; largest correlation {ours:.2f}, of prior draws {prior:.2f}"
        return Verdict(grade_, finding, "" if grade_ == "ok" else _ADVICE)

    def numbers(self) -> list[Number]:
        farthest, p = int(self.distances.argmax()), self.p_values
        ours, prior = self.correlations
        numbers = [
            Number(
                "largest distance of a dimension",
                float(self.distances[farthest]),
                "",
                f"Kolmogorov-Smirnov distance of q(z_d) from p(z_d), of {self.names[farthest]}",
                HOFFMAN,
            ),
            Number(
                "p-value of that dimension",
                float(p[farthest]),
                "",
                "of the hypothesis that q(z_d) = p(z_d), Holm over all dimensions",
            ),
            Number(
                "distance of log p(z)",
                self.density_distance,
                "",
                "Kolmogorov-Smirnov distance of log p(z) under q(z) and p(z): whether latents lie "
                "in the prior's typical set; the radius, where the prior is standard normal",
            ),
            Number("p-value of log p(z)", float(p[-1]), "", "as above"),
        ]
        if len(self.names) == 1:
            return numbers
        return [
            *numbers,
            Number("largest correlation", ours, "", "between two dimensions of draws from q(z)"),
            Number(
                "largest correlation of the prior", prior, "", "the same of as many prior draws"
            ),
            Number(
                "largest difference of correlations",
                self.correlation_difference,
                "",
                "between q(z) and prior draws, over pairs of dimensions",
            ),
        ]

    def variables(self) -> dict[str, Variable]:
        both = ("obs", "latent")
        return {
            "aggregated": Variable(both, self.aggregated, "one draw from q(z | x) for each x"),
            "prior": Variable(both, self.prior, "as many draws from p(z)"),
            "log_prior_aggregated": Variable(
                ("obs",), self.log_prior_aggregated, "log p(z) of draws from q(z | x), nats"
            ),
            "log_prior_prior": Variable(
                ("obs",), self.log_prior_prior, "log p(z) of draws from p(z), nats"
            ),
        }

    @cached_property
    def _tests(self) -> NDArray[Any]:
        """Distance and p-value of each dimension and, last, of log p(z)."""
        pairs = list(zip(self.aggregated.T, self.prior.T, strict=True))
        pairs.append(
            (self.log_prior_aggregated.round(DECIMALS), self.log_prior_prior.round(DECIMALS))
        )
        # The asymptotic p-value: the exact one warns where it underflows.
        return np.array([tuple(stats.ks_2samp(*pair, method="asymp")) for pair in pairs])

    def _correlation_grade(self) -> Grade:
        """WARN at most, and only beyond sampling noise by Fisher's transformation."""
        dims = len(self.names)
        pairs = max(1, dims * (dims - 1) // 2)
        error = (2 / (len(self.aggregated) - 3)) ** 0.5
        ours, prior = (_correlations(z) for z in (self.aggregated, self.prior))
        shift = np.arctanh(ours.clip(-LARGEST, LARGEST)) - np.arctanh(
            prior.clip(-LARGEST, LARGEST)
        )
        clear = np.abs(shift) > stats.norm.isf(LEVEL / pairs / 2) * error
        differ = np.abs(ours - prior)[clear].max(initial=0.0)
        return grade(float(differ), CORRELATION_WARN, float("inf"))


_ADVICE = (
    "latents drawn from the prior are not like those of the data, so samples are worse than "
    "reconstructions: let the prior follow, with model.prior.kind 'mixture', 'vamp' or 'flow'"
)


def check_aggregate(autoencoder: Autoencoder, batch: Batch | Tensor) -> Aggregate:
    r"""Compare the aggregated posterior with the prior.

    .. math::
        q(z) = \frac1N \sum_n q(z \mid x_n) \overset{?}{=} p(z)

    One draw of each for each observation, compared in each dimension and in log p(z). The guide
    may be a point. Angles are compared by their distance from the mean direction of all draws.

    Args:
        autoencoder: Model and guide.
        batch: The data.

    Raises:
        DataError: There are fewer than 20 data; a latent has no finite density under the prior.

    References:
        Hoffman and Johnson (2016), *ELBO Surgery: Yet Another Way to Carve Up the Variational
        Evidence Lower Bound*, NIPS Workshop on Advances in Approximate Bayesian Inference.
    """
    if len(batch) < MIN_DATA:
        raise DataError(
            f"{len(batch)} data are too few to compare their latents with the prior: at least "
            f"{MIN_DATA} are needed"
        )
    with evaluating(autoencoder, batch.device):
        local = LocalPosterior(autoencoder, batch[:2])
        rows = [_draw(autoencoder, part) for part in batch.split(chunks.codes(batch.device) // 2)]
    z, log_prior = (torch.cat(column, dim=1).cpu().double() for column in zip(*rows, strict=True))
    if not (z.isfinite().all() and log_prior.isfinite().all()):
        raise DataError(
            "latents of these data have no finite log p(z): the guide's parameters are not "
            "finite, or it draws latents where the prior has no density"
        )
    # The angles of both are cut at the same point, far from most of them.
    z = unwrapped(z.flatten(0, 1), local.angles.cpu()).reshape(z.shape)
    return Aggregate(local.names, *z.numpy(), *log_prior.numpy())


def _draw(autoencoder: Autoencoder, batch: Batch | Tensor) -> tuple[Tensor, Tensor]:
    """A latent from the guide and one from the prior for each observation, with log p(z)."""
    local = LocalPosterior(autoencoder, batch)
    z = torch.cat([local.draw_guide(1), local.draw_prior(1)])
    return z, local.log_model(z)[0]


def _correlations(z: NDArray[Any]) -> NDArray[Any]:
    """Correlation matrix ``(latent, latent)``; 0 on the diagonal and for constant dimensions."""
    centred = z - z.mean(0)
    scale = np.sqrt((centred**2).mean(0))
    standard = np.divide(centred, scale, out=np.zeros_like(centred), where=scale > 0)
    correlations = standard.T @ standard / len(z)
    np.fill_diagonal(correlations, 0.0)
    return correlations
