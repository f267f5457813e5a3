"""Lines of ``metrics.jsonl``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from pyrovae.evaluation.metrics import BoundSummary
from pyrovae.parts.distributions.kl import Kind

Split = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class Record:
    """Line of ``metrics.jsonl``: a split at the end of an epoch, in nats per observation.

    Attributes:
        epoch: Finished epochs.
        step: Finished optimiser steps.
        split: "train" (mean over the epoch, the weights moving), "validation" or "test". Where the
            training data are resampled, all but ``loss`` are weighted back to the data.
        elbo: ELBO at β = 1, ``reconstruction - kl``.
        reconstruction: Mean of log p(x | z).
        kl: KL over all latent sites.
        kl_per_site: KL of each latent site.
        kl_per_dim: KL of each latent dimension, where the KL is a sum over them.
        kl_kind: For each latent site, whether ``kl`` is "exact", "sampled", or of a "point".
        loss: Loss that is optimised.
        beta: β of the last step.
        seconds: Seconds since training began, without interruptions.
    """

    epoch: int
    step: int
    split: Split
    elbo: float
    reconstruction: float
    kl: float
    kl_per_site: dict[str, float]
    kl_per_dim: list[float] | None
    kl_kind: dict[str, Kind]
    loss: float
    beta: float
    seconds: float

    @classmethod
    def of(cls, summary: BoundSummary, **where: Any) -> Record:
        """Record from a summary and its place in training."""
        numbers = asdict(summary)
        del numbers["count"], numbers["standard_error"]
        return cls(**where, **numbers)
