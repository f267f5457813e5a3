"""Lines of ``metrics.jsonl``, and the history of a fit, which consists of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from pyrovae import notebook
from pyrovae.errors import SpecError
from pyrovae.evaluation.metrics import BoundSummary
from pyrovae.parts.distributions.kl import Kind

if TYPE_CHECKING:
    from pandas import DataFrame

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


class History(list[Record]):
    """Records of a fit, epoch by epoch; a list that a notebook shows as curves.

    Attributes:
        kept: Epoch whose weights the autoencoder ended up with; None if that is not known.
    """

    kept: int | None = None

    def frame(self) -> DataFrame:
        """The records as a table of pandas, a row for each, in nats per observation."""
        from pandas import DataFrame

        return DataFrame([asdict(record) for record in self])

    def __repr__(self) -> str:
        return f"History({self._summary()})"

    def _repr_html_(self) -> str:
        elbo = {
            word: [record.elbo for record in self if record.split == split]
            for split, word in (("train", "training ELBO"), ("validation", "validation ELBO"))
        }
        summary = notebook.paragraph(self._summary())
        return notebook.card("Training history", notebook.curves(elbo), summary)

    def _summary(self) -> str:
        """The last numbers, in a sentence."""
        if not self:
            return "no epoch has ended"
        last = self[-1]
        kept = "" if self.kept is None else f"; weights of epoch {self.kept}"
        return (
            f"{last.epoch} epochs, {last.split} ELBO {last.elbo:.2f} = reconstruction "
            f"{last.reconstruction:.2f} - KL {last.kl:.2f} nats per observation{kept}"
        )


def as_history(where: str, records: Any) -> History:
    """Records as a history, none as an empty one.

    Args:
        where: Name of the function that was given them, which begins a message.
        records: What ``fit`` returned, or None.

    Raises:
        SpecError: It is something else.
    """
    if isinstance(records, History):
        return records
    if records is None:
        return History()
    if not isinstance(records, list) or not all(isinstance(r, Record) for r in records):
        raise SpecError(
            f"{where}: the history is of type {type(records).__name__}, and not what fit "
            "returned: give history, as in history = fit(vae, data)"
        )
    return History(records)
