"""Simulation-based calibration: coverage of the guide's intervals on simulated data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from pyrovae.compute import chunks
from pyrovae.compute.modes import evaluating
from pyrovae.data import Batch
from pyrovae.diagnosis.pit import DRAWS, Placed, active, place
from pyrovae.diagnosis.ranks import mean_error, span, variance_error
from pyrovae.diagnosis.richer_families import RICHER, richer_for
from pyrovae.errors import DataError, SpecError
from pyrovae.evaluation.local import LocalPosterior
from pyrovae.evaluation.results import (
    Check,
    Grade,
    Number,
    Variable,
    Verdict,
    grade,
    percent,
    worse,
)
from pyrovae.evaluation.significance import fraction_interval, holm, p_value
from pyrovae.programs.autoencoder import Autoencoder

SIMULATIONS = 1000
MIN_SIMULATIONS = 100
NOMINAL = 0.9
INTERVAL = percent(NOMINAL)
# Ours: how far from its nominal value the coverage may be, the mean of z-scores from 0, their
# variance from 1, and the ranks of log p(x, z) from uniform.
COVERAGE_WARN, COVERAGE_FAIL = 0.02, 0.05
MEAN_WARN, MEAN_FAIL = 0.1, 0.3
VARIANCE_WARN = 0.1
JOINT_WARN, JOINT_FAIL = 0.1, 0.2
# Chance that one of these, for all latents together, is found to be off when it is not.
LEVEL = 0.01

TALTS = "Talts et al. (2018), arXiv:1804.06788"
MODRAK = "Modrák et al. (2023), arXiv:2211.02383"


@dataclass(frozen=True, repr=False)
class Calibration(Check):
    """Ranks and z-scores of known latents within the guide's distribution of them.

    Attributes:
        names: Names of the latents.
        pit: Distribution function of q(z_d | x) at the latent that x was simulated from,
            ``(simulation, latent)``: uniform if the guide is the posterior.
        pit_log_joint: Rank of log p(x, z) among those of draws from the guide,
            ``(simulation,)``, scaled to [0, 1]; sensitive to errors in the joint distribution.
        z: z-scores, the latent less the guide's mean in units of its standard deviation,
            ``(simulation, latent)``.
        active: Whether the guide differs from the prior in a latent, ``(latent,)``; others are
            always calibrated.
        richer: Families that are richer than the guide's, in the words of advice.
    """

    names: list[str]
    pit: NDArray[Any]
    pit_log_joint: NDArray[Any]
    z: NDArray[Any]
    active: NDArray[Any]
    richer: str = RICHER

    question = "calibration"

    @property
    def covered(self) -> NDArray[Any]:
        """True where the central 90 % interval holds the latent, ``(simulation, latent)``."""
        return np.abs(self.pit - 0.5) < NOMINAL / 2

    @property
    def coverage(self) -> NDArray[Any]:
        """Coverage of the central 90 % intervals, ``(latent,)``."""
        return self.covered.mean(0)

    @property
    def z_mean(self) -> NDArray[Any]:
        """Means of the z-scores, ``(latent,)``: 0 for a guide that is not shifted."""
        return self.z.mean(0)

    @property
    def z_variance(self) -> NDArray[Any]:
        """Variances of the z-scores, ``(latent,)``: above 1 if the guide is too narrow."""
        return self.z.var(0, ddof=1)

    @property
    def p_values(self) -> NDArray[Any]:
        """Kolmogorov-Smirnov p-values for uniform PITs, ``(latent,)``, not adjusted."""
        return np.array([stats.kstest(column, "uniform").pvalue for column in self.pit.T])

    def verdict(self) -> Verdict:
        grade_, finding = self._joint()
        if not self.active.any():
            finding = (
                f"the guide is the prior for all {len(self.names)} latents, which is always "
                f"calibrated: nothing was tested; {finding}"
            )
            return Verdict("WARN", finding, "see latent dimensions")
        for number in (self._coverage_grade(), self._z_grade()):
            grade_ = worse(grade_, number)
        coverage, passive = self.coverage[self.active], int((~self.active).sum())
        finding = (
            f"{INTERVAL} intervals cover {span(100 * coverage, '.0f')} % on "
            f"{int(self.active.sum())} active latents, z-scores have mean "
            f"{span(self.z_mean[self.active], '.2f')} and variance "
            f"{span(self.z_variance[self.active], '.2f')}; {finding}; smallest "
            f"{p_value(holm(self.p_values[self.active]).min())}; {len(self.pit)} simulations"
        )
        if passive:
            finding += f"; {passive} collapsed latents left out, which always pass"
        return Verdict(grade_, finding, "" if grade_ == "ok" else self._advice())

    def numbers(self) -> list[Number]:
        if not self.active.any():
            return [self._joint_number()]
        worst = self._of_active(np.abs(self.z_mean)).argmax()
        means = Number(
            "largest mean of z-scores",
            float(self.z_mean[worst]),
            "standard deviations",
            f"latent less the guide's mean, in its standard deviations, of {self.names[worst]}: "
            "0 if not shifted",
            error=float(mean_error(self.z)[worst]),
        )
        smallest = Number(
            "smallest p-value",
            float(holm(self.p_values[self.active]).min()),
            "",
            "that PITs of an exact guide are as uneven (Kolmogorov-Smirnov, Holm over latents)",
            TALTS,
        )
        low, high = (
            self._of_active(-self.coverage).argmax(),
            self._of_active(self.coverage).argmax(),
        )
        narrow, wide = (
            self._of_active(self.z_variance).argmax(),
            self._of_active(-self.z_variance).argmax(),
        )
        return [
            self._coverage_number("lowest coverage", low),
            self._coverage_number("highest coverage", high),
            means,
            self._variance_number("smallest variance of z-scores", wide),
            self._variance_number("largest variance of z-scores", narrow),
            smallest,
            self._joint_number(),
        ]

    def variables(self) -> dict[str, Variable]:
        both, one = ("simulation", "latent"), ("latent",)
        return {
            "pit": Variable(both, self.pit, "cdf of q(z_d | x) at the z x was simulated from"),
            "pit_log_joint": Variable(
                ("simulation",), self.pit_log_joint, "rank of log p(x, z) among guide draws"
            ),
            "coverage": Variable(one, self.coverage, f"of the central {INTERVAL} interval"),
            "z_mean": Variable(one, self.z_mean, "mean of z-scores"),
            "z_variance": Variable(one, self.z_variance, "variance of z-scores"),
        }

    def _of_active(self, values: NDArray[Any]) -> NDArray[Any]:
        """Values of active latents; of others, less than any."""
        return np.where(self.active, values, -np.inf)

    def _coverage_number(self, name: str, latent: np.intp) -> Number:
        covered = self.covered[:, latent]
        return Number(
            name,
            float(covered.mean()),
            "fraction",
            f"how often the central {INTERVAL} interval of q(z | x) holds the latent that x was "
            f"simulated from, of {self.names[latent]}",
            TALTS,
            interval=fraction_interval(int(covered.sum()), len(covered)),
        )

    def _variance_number(self, name: str, latent: np.intp) -> Number:
        return Number(
            name,
            float(self.z_variance[latent]),
            "",
            f"of {self.names[latent]}: 1 if the guide is as wide as the posterior, more if it is "
            "over-confident",
            error=float(variance_error(self.z)[latent]),
        )

    def _coverage_grade(self) -> Grade:
        """Grade of the worst deviation from nominal coverage beyond sampling noise."""
        level, worst = 1 - LEVEL / self.active.sum(), 0.0
        for covered in self.covered.T[self.active]:
            low, high = fraction_interval(int(covered.sum()), len(covered), level)
            if not low <= NOMINAL <= high:
                worst = max(worst, abs(covered.mean() - NOMINAL))
        return grade(worst, COVERAGE_WARN, COVERAGE_FAIL)

    def _z_grade(self) -> Grade:
        z = self.z[:, self.active]
        errors = stats.norm.isf(LEVEL / z.shape[1] / 2)
        mean, variance = np.abs(z.mean(0)), np.abs(z.var(0, ddof=1) - 1)
        shift = mean[mean > errors * mean_error(z)].max(initial=0.0)
        excess = variance[variance > errors * variance_error(z)].max(initial=0.0)
        return worse(
            grade(shift, MEAN_WARN, MEAN_FAIL), grade(excess, VARIANCE_WARN, float("inf"))
        )

    def _joint(self) -> tuple[Grade, str]:
        found = stats.kstest(self.pit_log_joint, "uniform")
        settled = found.pvalue < LEVEL
        distance, p = found.statistic, found.pvalue
        finding = f"ranks of log p(x, z) are {distance:.2f} from uniform ({p_value(p)})"
        return grade(distance, JOINT_WARN, JOINT_FAIL) if settled else "ok", finding

    def _joint_number(self) -> Number:
        return Number(
            "distance of log p(x, z)",
            float(stats.kstest(self.pit_log_joint, "uniform").statistic),
            "",
            "Kolmogorov-Smirnov distance of its ranks among guide draws from uniform: sees "
            "correlations that the guide lacks",
            MODRAK,
        )

    def _advice(self) -> str:
        z, covered = self.z_variance[self.active], self.coverage[self.active]
        shift = np.abs(self.z_mean[self.active]).max()
        if (
            covered.min() < NOMINAL - COVERAGE_WARN
            or z.max() > 1 + VARIANCE_WARN
            or shift > MEAN_WARN
        ):
            return (
                "over-confident or shifted: fit the guide to draws from the model too (python -m "
                f"pyrovae.refine), choose {self.richer} or wider inference.guide.encoder layers; "
                "until then do not use the guide's intervals"
            )
        if covered.max() > NOMINAL + COVERAGE_WARN or z.min() < 1 - VARIANCE_WARN:
            return (
                "under-confident, the intervals are too wide: train longer (inference.epochs), or "
                "with inference.objective.kind 'elbo', whose guides are narrower than those of "
                "importance-weighted bounds"
            )
        return f"each latent is about right, but not all of them together: choose {self.richer}"


def check_calibration(
    autoencoder: Autoencoder, like: Batch | Tensor, simulations: int = SIMULATIONS
) -> Calibration:
    r"""Simulation-based calibration of the guide.

    .. math::
        z^* \sim p(z), \quad x \sim p(x \mid z^*), \quad
        u_d = \int_{-\infty}^{z^*_d} q(z_d \mid x) \, \mathrm{d} z_d

    Given x, :math:`z^*` is an exact draw from the posterior, so every :math:`u_d` is uniform if
    the guide is the posterior. Where the distribution function of a marginal of the guide is not
    known, :math:`z^*_d` is ranked among 99 draws, ties broken at random. So are all angles,
    counted from the point opposite to their mean direction. Discrete latents enter log p(x, z)
    alone. The result holds for data from the model, which may differ from real data.

    Args:
        autoencoder: Model and guide.
        like: Data ``(obs, *shape)`` that give the shape of the simulated data; repeated if there
            are more simulations.
        simulations: Number of data to simulate.

    Raises:
        DataError: A simulated observation has no finite density.
        SpecError: The guide is a point; all latents are discrete; there are too few simulations;
            the model observes several sites.

    References:
        Talts et al. (2018), *Validating Bayesian Inference Algorithms with Simulation-Based
        Calibration*, arXiv:1804.06788; Modrák et al. (2023), *Simulation-Based Calibration
        Checking for Bayesian Computation: The Choice of Test Quantities Shapes Sensitivity*,
        arXiv:2211.02383; Säilynoja, Bürkner and Vehtari (2022), *Graphical Test for Discrete
        Uniformity*, arXiv:2103.10522.
    """
    if simulations < MIN_SIMULATIONS:
        raise SpecError(
            f"simulations = {simulations} are too few to tell a coverage of {INTERVAL} from "
            f"another: at least {MIN_SIMULATIONS} are needed, better {SIMULATIONS}"
        )
    with evaluating(autoencoder, like.device):
        local = LocalPosterior(autoencoder, like[:2])
        if local.point:
            raise SpecError(
                "the guide is a point, which has no intervals to be calibrated: choose "
                "inference.guide.kind 'diagonal', or sample p(z | x) by MCMC"
            )
        if local.discrete.all():
            raise SpecError(
                f"latents {', '.join(local.names)} are discrete, and have no intervals to be "
                "calibrated"
            )
        index = torch.arange(simulations, device=like.device) % len(like)
        size = max(1, chunks.codes(like.device) // (DRAWS + 1))
        parts = [place(autoencoder, like[part]) for part in index.split(size)]
    found = Placed(*(torch.cat(column).cpu().double() for column in zip(*parts, strict=True)))
    if not all(column.isfinite().all() for column in found):
        raise DataError(
            "data simulated from the model have densities or latents that are not finite: its "
            "parameters are not, or p(x | z) draws values to which it gives no density"
        )
    ranked = ~local.discrete
    return Calibration(
        [name for name, kept in zip(local.names, ranked, strict=True) if kept],
        found.pit[:, ranked].numpy(),
        found.pit_log_joint.numpy(),
        found.z[:, ranked].numpy(),
        active(found)[ranked].numpy(),
        richer_for(autoencoder),
    )
