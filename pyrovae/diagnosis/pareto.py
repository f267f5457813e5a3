"""The tails of importance weights as a check of the guide."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from pyrovae.errors import SpecError
from pyrovae.evaluation.importance import bounds
from pyrovae.evaluation.pareto_smoothing import smooth, threshold
from pyrovae.evaluation.results import Check, Number, Variable, Verdict, grade, percent
from pyrovae.evaluation.significance import fraction_interval

# Ours: grades by the fraction of data above the threshold.
WARN, FAIL = 0.05, 0.3
# With fewer draws the tail is too short: 3 √100 = 30, a fifth of 100 = 20.
MIN_DRAWS = 100

VEHTARI = "Vehtari et al. (2024), arXiv:1507.02646"
YAO = "Yao et al. (2018), arXiv:1802.02538"


@dataclass(frozen=True, repr=False)
class Weights(Check):
    """Tail shapes and effective sample sizes of importance weights.

    Attributes:
        khat: Shape of the tail of each observation's weights, ``(obs,)``.
        effective_samples: Effective sample size, ``(obs,)``.
        degenerate: Whether the weights are all the same, ``(obs,)``.
        draws: Number of draws for each observation.
    """

    khat: NDArray[Any]
    effective_samples: NDArray[Any]
    degenerate: NDArray[Any]
    draws: int

    question = "importance weights"

    @property
    def threshold(self) -> float:
        """Shape above which an observation's weights are not to be used."""
        return threshold(self.draws)

    @property
    def above(self) -> Number:
        """The fraction of data above the threshold."""
        return self._fraction(
            f"fraction with k-hat > {self.threshold:.2f}",
            self.khat > self.threshold,
            f"data whose weights have tails too heavy for {self.draws} draws; this fraction is "
            "stable from run to run, while the k-hat of one observation is noisy and only ranks",
        )

    def verdict(self) -> Verdict:
        if self.degenerate.all():
            return Verdict(
                "ok",
                "weights constant for all data: the guide is exact (or posterior = prior)",
            )
        fraction = self.above
        grade_ = grade(fraction.value, WARN, FAIL)
        low, high = fraction.interval or (math.nan, math.nan)
        finding = (
            f"{percent(fraction.value)} of {len(self.khat)} data have k-hat > "
            f"{self.threshold:.2f} ({percent(low)} to {percent(high)}); median effective sample "
            f"size {np.median(self.effective_samples):.0f} of {self.draws} draws"
        )
        if self.degenerate.any():
            finding += (
                f"; weights constant for {self.degenerate.sum()}: "
                "the guide is exact (or posterior = prior)"
            )
        return Verdict(grade_, finding, "" if grade_ == "ok" else _ADVICE)

    def numbers(self) -> list[Number]:
        return [
            self.above,
            self._fraction(
                "fraction with k-hat > 1",
                self.khat > 1,
                "data whose weights have no finite mean: even log p(x) from them is far too low",
            ),
            self._fraction(
                "fraction with constant weights",
                self.degenerate,
                "data for which the guide is exact, as it is where posterior and prior agree",
            ),
            Number(
                "median k-hat",
                float(np.median(self.khat)),
                "",
                "shape of the tail of the weights p(x, z) / q(z | x): moments up to order 1/k "
                "exist; it does not see modes that the guide misses",
                VEHTARI,
            ),
            Number(
                "median effective draws",
                float(np.median(self.effective_samples)),
                "draws",
                f"effective sample size (sum w)² / sum w² of {self.draws} draws",
            ),
        ]

    def variables(self) -> dict[str, Variable]:
        return {
            "khat": Variable(
                ("obs",),
                self.khat,
                "shape of the tail of the importance weights; a ranking of the data only",
            ),
            "effective_samples": Variable(
                ("obs",), self.effective_samples, "effective sample size of the weights"
            ),
            "degenerate": Variable(("obs",), self.degenerate, "whether the weights are constant"),
        }

    def _fraction(self, name: str, chosen: NDArray[Any], definition: str) -> Number:
        count, total = int(chosen.sum()), len(chosen)
        interval = fraction_interval(count, total)
        reference = f"{VEHTARI}; {YAO}"
        return Number(name, count / total, "fraction", definition, reference, interval=interval)


_ADVICE = (
    "for these data neither draws from the guide nor weighted draws represent p(z | x): choose a "
    "richer inference.guide.kind ('full_rank', 'iaf', 'spline') or a wider encoder, and run "
    "MCMC for the data with the largest k-hat; the k-hat of a single one is noisy"
)


def check_weights(log_weight: Float[Tensor, "draws obs"]) -> Weights:
    """Check the guide by the tails of its importance weights.

    Args:
        log_weight: log p(x, z) - log q(z | x), ``(draws, obs)``.

    Raises:
        DataError: A weight is not finite.
        SpecError: There are fewer than 100 draws.

    References:
        Yao, Vehtari, Simpson and Gelman (2018), *Yes, but Did It Work?: Evaluating Variational
        Inference*, arXiv:1802.02538.
    """
    if len(log_weight) < MIN_DRAWS:
        raise SpecError(
            f"draws = {len(log_weight)} are too few to see the tail of the weights: "
            f"at least {MIN_DRAWS} are needed, better 1000"
        )
    smoothed = smooth(log_weight)
    return Weights(
        smoothed.khat.cpu().numpy(),
        bounds(log_weight.double()).effective_samples.cpu().numpy(),
        smoothed.degenerate.cpu().numpy(),
        len(log_weight),
    )
