"""Watch over a training: warnings when the fit goes badly."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from pyrovae.data import Dataset
from pyrovae.evaluation.bound import evaluate
from pyrovae.evaluation.metrics import BoundSummary
from pyrovae.objectives import Objective
from pyrovae.objectives.schedules import Budget
from pyrovae.programs.autoencoder import Autoencoder
from pyrovae.specs import InferenceSpec
from pyrovae.training.collapse_watch import CollapseWatch, silent_nats
from pyrovae.training.early_stopping import Kept
from pyrovae.training.fit_warnings import FitWarning, posterior_collapse, worse_than_untrained
from pyrovae.training.weight_comparison import Judgement

# A mean training loss so many times above the loss before the first step is no beginning; nor is
# an ELBO so many times below, whatever the loss: an objective may have the wrong sign.
EXPLODED, ABSURD = 10.0, 1000.0


class FitWatch:
    """Observer of the epochs of a training.

    Args:
        autoencoder: Model and guide.
        data: Validation data, as the model sees them.
        objective: Objective of the training.
        spec: Specification of the inference.
        budget: Length of the training.
        settled: First epoch from which on the settings of the objective are constant.

    Attributes:
        untrained: Judgement of the weights before the first step.
        warnings: Warnings so far; after :meth:`conclude`, those about the weights that are kept.
    """

    def __init__(
        self,
        autoencoder: Autoencoder,
        data: Dataset,
        objective: Objective,
        spec: InferenceSpec,
        budget: Budget,
        settled: int,
    ) -> None:
        self.autoencoder = autoencoder
        self.data = data
        self.objective = objective
        self.spec = spec
        self.settled = settled
        self.collapse = CollapseWatch(budget)
        self.untrained: Judgement | None = None
        self.warnings: list[FitWarning] = []

    def see(self, epoch: int, train: BoundSummary, validation: BoundSummary) -> None:
        """Take in an epoch; each kind of warning is given once.

        A collapse counts when no schedule is left that may undo it.
        """
        self.collapse.see(silent_nats(self.autoencoder, self.data, validation))
        known = {warning.kind for warning in self.warnings}
        collapsed = self.collapse.collapsed and epoch >= self.settled
        if collapsed and "posterior_collapse" not in known:
            self.warnings.append(self._collapsed(epoch))
        before = self.untrained
        if before and _exploded(train, before) and "worse_than_untrained" not in known:
            elbos, fell = (train.elbo, before.mean_elbo), train.loss < before.mean_loss
            self.warnings.append(worse_than_untrained(self.spec, epoch, *elbos, loss_fell=fell))

    def conclude(self, kept: Kept, judgement: Judgement) -> None:
        """Drop the warnings that do not concern the kept weights, and add those that do.

        Args:
            kept: The kept weights, which are in the autoencoder.
            judgement: Their judgement.
        """
        found = []
        said = [warning for warning in self.warnings if warning.kind == "posterior_collapse"]
        if (said or self.collapse.collapsed) and self._is_silent():
            found.append(said[0] if said else self._collapsed(kept.epoch))
        before = self.untrained
        absurd = before and _far_below(judgement.mean_elbo, before.mean_elbo)
        if before and (absurd or judgement.worse_than(before)):
            elbos = judgement.mean_elbo, before.mean_elbo
            fell = judgement.mean_loss < before.mean_loss
            found.append(worse_than_untrained(self.spec, kept.epoch, *elbos, loss_fell=fell))
        self.warnings = found

    def state_dict(self) -> dict[str, Any]:
        """State, for :meth:`load_state_dict`."""
        return {
            "untrained": self.untrained and self.untrained._asdict(),
            "silent_nats": self.collapse.nats,
            "warnings": [asdict(warning) for warning in self.warnings],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state."""
        self.untrained = state["untrained"] and Judgement(**state["untrained"])
        self.collapse.nats = state["silent_nats"]
        self.warnings = [FitWarning(**warning) for warning in state["warnings"]]

    def _collapsed(self, epoch: int) -> FitWarning:
        epochs, nats = self.collapse.window, max(self.collapse.recent)
        return posterior_collapse(self.autoencoder, self.spec, epoch, epochs, nats)

    def _is_silent(self) -> bool:
        summary = evaluate(self.autoencoder, self.data, self.objective)
        return silent_nats(self.autoencoder, self.data, summary) is not None


def _exploded(train: BoundSummary, untrained: Judgement) -> bool:
    """True if the loss is far above that before the first step, or the ELBO absurdly below.

    The loss was judged with the settings of the last step. While β still rises the loss is lower
    than with these, so a loss far above it does not come from the schedule.
    """
    before = untrained.mean_loss
    risen = train.loss - before > EXPLODED * (1 + abs(before))
    return risen or _far_below(train.elbo, untrained.mean_elbo)


def _far_below(elbo: float, before: float) -> bool:
    """True also of an ELBO that is no number."""
    return not before - elbo <= ABSURD * (1 + abs(before))
