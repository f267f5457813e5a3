"""Options of the posterior of single observations. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from pyrovae.errors import SpecError, nearest

Resample = Literal["importance", "mcmc"]

# Fewer do not show the tail of their weights, and do not make four chains.
FEWEST_DRAWS = 100


@dataclass(frozen=True, kw_only=True)
class LocalInference:
    """Semi-amortised inference: the encoder's guide, improved for each observation.

    Attributes:
        refine_steps: Gradient steps on the ELBO of each observation, from the encoder's guide on.
        resample: Correction of the guide's draws: "importance" by Pareto-smoothed weights, "mcmc"
            by chains of Hamiltonian Monte Carlo from these draws on; None for none.
        draws: Number of draws for each observation, those of all chains together.

    Raises:
        SpecError: One of them cannot be.
    """

    refine_steps: int = 0
    resample: Resample | None = None
    draws: int = 1000

    def __post_init__(self) -> None:
        for name, value, least in (
            ("refine_steps", self.refine_steps, 0),
            ("draws", self.draws, FEWEST_DRAWS),
        ):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise SpecError(f"{name} = {value!r}: give a whole number from {least} on")
        if self.resample is not None and self.resample not in get_args(Resample):
            choice = nearest(str(self.resample), get_args(Resample))
            raise SpecError(f"resample = {self.resample!r}: {choice}")

    def __bool__(self) -> bool:
        """True if the encoder's guide is improved at all."""
        return self.refine_steps > 0 or self.resample is not None
