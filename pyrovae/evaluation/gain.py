"""Gain and cost of improving the guide for each observation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from pyrovae.evaluation.importance import bounds
from pyrovae.evaluation.pareto_smoothing import MIN_TAIL, pareto_k, threshold
from pyrovae.evaluation.results import percent
from pyrovae.specs.local_inference import LocalInference

# Above it chains from the guide's draws have not mixed; Gelman et al. (1992) and Stan warn there.
GOOD_RHAT = 1.05
FEWEST = 5 * MIN_TAIL


class Fit(NamedTuple):
    """Fit of a guide to p(z | x), per observation, ``(data,)`` float64 on the CPU.

    Attributes:
        elbo: ELBO in nats.
        log_prob: Importance-weighted estimate of log p(x) in nats; in the mean a lower bound, and
            one on the ELBO of the weighted draws.
        khat: Shape of the tail of the weights; NaN of fewer than 25 draws.
    """

    elbo: Tensor
    log_prob: Tensor
    khat: Tensor


def fit_of(log_weight: Tensor) -> Fit:
    """The fit of a guide, from the log-weights ``(draws, data)`` of its draws."""
    elbo, log_prob, _ = bounds(log_weight.double())
    few = len(log_weight) < FEWEST
    khat = torch.full_like(elbo, torch.nan) if few else pareto_k(log_weight)
    return Fit(elbo.cpu(), log_prob.cpu(), khat.cpu())


@dataclass(frozen=True)
class Gain:
    """Fit of the guide before and after, and the cost.

    Attributes:
        asked: How the guide was improved.
        encoder: Fit of the encoder's guide; None if it is a point.
        refined: Fit of the refined guide, if there is one.
        rhat: Largest R-hat of the chains of each observation, ``(data,)``, if there are any.
        seconds: Seconds for each observation.
    """

    asked: LocalInference
    encoder: Fit | None
    refined: Fit | None
    rhat: Tensor | None
    seconds: float

    @property
    def final(self) -> Fit | None:
        """Fit of the guide whose draws are used."""
        return self.refined or self.encoder

    def __str__(self) -> str:
        """Gain and cost in a line; the ELBO in nats, as a mean over the data."""
        return "; ".join([*self._guide(), *self._draws(), f"{self.seconds:.2g} s per observation"])

    def _guide(self) -> list[str]:
        if self.encoder is None:
            return []
        fits = [self.encoder, *([self.refined] if self.refined else [])]
        elbo = " → ".join(f"{fit.elbo.mean():.2f}" for fit in fits)
        khat = " → ".join(f"{fit.khat.median():.2f}" for fit in fits)
        by = f" in {self.asked.refine_steps} steps" if self.refined else ""
        known = self.encoder.khat.isfinite().any()
        return [f"ELBO {elbo} nats{by}", *([f"median k-hat {khat}"] if known else [])]

    def _draws(self) -> list[str]:
        if self.asked.resample == "importance" and self.final is not None:
            bad = percent((self.final.khat > threshold(self.asked.draws)).double().mean().item())
            bound = f"{self.final.log_prob.mean():.2f} nats"
            return [f"ELBO of the weighted draws at least {bound}, weights not reliable for {bad}"]
        if self.rhat is not None:
            bad = percent((self.rhat > GOOD_RHAT).double().mean().item())
            return [f"chains not converged (R-hat > {GOOD_RHAT}) for {bad}"]
        return []


def joined(gains: Sequence[Gain], counts: Sequence[int]) -> Gain:
    """The gain for all the data, from those of parts with so many observations."""

    def fits(parts: list[Fit | None]) -> Fit | None:
        known = [part for part in parts if part is not None]
        return Fit(*map(torch.cat, zip(*known, strict=True))) if known else None

    rhats = [gain.rhat for gain in gains if gain.rhat is not None]
    return Gain(
        gains[0].asked,
        fits([gain.encoder for gain in gains]),
        fits([gain.refined for gain in gains]),
        torch.cat(rhats) if rhats else None,
        sum(g.seconds * count for g, count in zip(gains, counts, strict=True)) / sum(counts),
    )
