"""Bidirectional Monte Carlo: bounds on log p(x) from both sides, on simulated data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray
from torch import Tensor

from pyrovae.compute.distributed import ALONE, Processes
from pyrovae.data import Batch
from pyrovae.errors import SpecError
from pyrovae.evaluation import annealed_importance as annealing
from pyrovae.evaluation.annealing_path import Start
from pyrovae.evaluation.results import Check, Number, Variable, Verdict, grade
from pyrovae.programs.autoencoder import Autoencoder
from pyrovae.specs.computation import Computation

# Nats. Differences between models that are worth telling are of several; ours.
WARN_GAP, FAIL_GAP = 0.1, 0.5
REFERENCE = "Grosse, Ghahramani and Adams (2015), arXiv:1511.02543"


@dataclass(frozen=True, eq=False, repr=False)
class Sandwich(Check):
    """Lower and upper bounds on log p(x) of simulated data, valid in the mean.

    Attributes:
        lower: Lower bounds in nats, ``(simulation,)``.
        upper: Upper bounds in nats, ``(simulation,)``.
        steps: Number of temperatures.
        chains: Number of chains for each observation.
    """

    question = "log p(x)"

    lower: Float64[np.ndarray, " simulation"]
    upper: Float64[np.ndarray, " simulation"]
    steps: int
    chains: int

    @property
    def gap(self) -> float:
        """Mean of upper - lower, in nats."""
        return float((self.upper - self.lower).mean())

    @property
    def gap_error(self) -> float:
        """Standard error of :attr:`gap`."""
        return _error(self.upper - self.lower)

    def verdict(self) -> Verdict:
        """Grade of the absolute distance between the bounds, also if they cross."""
        found = grade(abs(self.gap), WARN_GAP, FAIL_GAP)
        finding = (
            f"bounds on log p(x) of {len(self.lower)} simulated data are {self.gap:.3f} ± "
            f"{self.gap_error:.3f} nats apart (annealing, {self.steps} steps)"
        )
        if found == "ok":
            return Verdict(found, finding)
        return Verdict(
            found,
            f"{finding}: log p(x) cannot be trusted to better than {abs(self.gap):.2g} nats",
            f"anneal with more steps than {self.steps}; until then do not rank models that "
            "differ by less",
        )

    def numbers(self) -> list[Number]:
        """The means of both bounds, and their distance."""
        how = f"annealing with {self.steps} steps and {self.chains} chains, on simulated data"
        return [
            Number(
                "log p(x), from below",
                float(self.lower.mean()),
                "nats",
                f"Mean over data of the log of the mean weight of forward chains; {how}.",
                REFERENCE,
                _error(self.lower),
            ),
            Number(
                "log p(x), from above",
                float(self.upper.mean()),
                "nats",
                "The same with one chain replaced by one that anneals backwards from the latent "
                f"that the observation was simulated from; {how}.",
                f"{REFERENCE}; Sobolev and Vetrov (2019), arXiv:1905.03290",
                _error(self.upper),
            ),
            Number(
                "sandwich",
                self.gap,
                "nats",
                "Mean distance of the two bounds: how far annealed log p(x) may be off.",
                REFERENCE,
                self.gap_error,
            ),
        ]

    def variables(self) -> dict[str, Variable]:
        """Both bounds."""
        return {
            "lower": Variable(
                ("simulation",), self.lower, "lower bound on log p(x) in the mean, nats"
            ),
            "upper": Variable(
                ("simulation",), self.upper, "upper bound on log p(x) in the mean, nats"
            ),
        }


def check_sandwich(
    autoencoder: Autoencoder,
    like: Batch | Tensor,
    *,
    steps: int = 50,
    chains: int = 16,
    start: Start = "guide",
    computation: Computation | None = None,
    processes: Processes = ALONE,
) -> Sandwich:
    """Bound log p(x) from both sides, on data simulated from the model.

    Args:
        autoencoder: Model and guide.
        like: Data that give number and shape of the simulated data; at least 2.
        steps: Number of temperatures.
        chains: Number of chains for each observation; at least 2.
        start: Start of the chains; "prior" if the guide is a point.
        computation: Options of compilation and precision.
        processes: The processes that call this together and share the data.

    Raises:
        SpecError: As :func:`pyrovae.evaluation.annealed_importance.bracket`; fewer than 2 data.
        DataError: The weights of a simulated observation are not finite.
    """
    if len(like) < 2:
        raise SpecError(f"{len(like)} simulated data: an error of their mean needs at least 2")
    found = annealing.bracket(
        autoencoder,
        like,
        steps=steps,
        chains=chains,
        start=start,
        computation=computation,
        processes=processes,
    )
    return Sandwich(found.lower.numpy(), found.upper.numpy(), steps, chains)


def gradients(simulations: int, *, steps: int = 50, chains: int = 16) -> int:
    """Cost of :func:`check_sandwich`: number of gradients, each of one latent."""
    return annealing.gradients(simulations, steps=steps, chains=chains, bracketed=True)


def _error(values: NDArray[Any]) -> float:
    return float(values.std(ddof=1) / len(values) ** 0.5)
