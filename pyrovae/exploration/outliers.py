"""Out-of-distribution detection: scores of held-out data and of data of another kind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pyrovae.data import Batch, Dataset, Splits
from pyrovae.errors import DataError, SpecError
from pyrovae.evaluation.batches import batch_of, observations
from pyrovae.evaluation.pointwise import evaluate_pointwise
from pyrovae.evaluation.results import Number, Variable
from pyrovae.exploration.auroc import Array, Separation, separation
from pyrovae.exploration.result import Result
from pyrovae.exploration.scores.definitions import SCORES, Definition
from pyrovae.exploration.scores.inputs import ScoreInputs
from pyrovae.programs.arguments import options_checked, split_of
from pyrovae.programs.autoencoder import Autoencoder
from pyrovae.programs.given_values import as_count

SAMPLES = 500
# Of Adam for the regret, as many as in the source. Half as many rank images as well.
STEPS = 100
# Training data whose mean log p(x) is what is typical.
TYPICAL = 500
# No model is in this one.
CONTROL = "simplicity"


class Scored(NamedTuple):
    """One score of both data sets.

    Attributes:
        definition: Definition of the score.
        inside: Scores of the data like the training data, float64 ``(n,)``.
        outside: Scores of the others, ``(m,)``.
        separation: AUROC and AUPRC of the score.
    """

    definition: Definition
    inside: Array
    outside: Array
    separation: Separation


@dataclass(frozen=True, eq=False, repr=False)
class Outliers(Result):
    """Scores of two sets of data.

    Attributes:
        names: Names of the set inside and of the set outside.
        inside: Data like the training data, ``(n, *shape)`` on the CPU.
        outside: The others, ``(m, *shape)``.
        scored: Results by each score that applies.
        left_out: Reasons why other scores do not apply, by label.
        samples: Latents drawn for each estimate of log p(x).
        steps: Optimiser steps for the regret.
        refine_steps: Gradient steps in which the guide was fitted to each observation before its
            bound and log p(x) were estimated.
    """

    name = "outliers"
    title = "Outliers"

    names: tuple[str, str]
    inside: Tensor
    outside: Tensor
    scored: tuple[Scored, ...]
    left_out: dict[str, str]
    samples: int
    steps: int
    refine_steps: int = 0

    def strangest(self, scored: Scored, count: int) -> tuple[Array, Array]:
        """Indices of the data of either set with the highest scores, in descending order."""
        inside, outside = (np.argsort(-s, kind="stable")[:count] for s in scored[1:3])
        return inside, outside

    def summary(self) -> str:
        """Summary of the likelihood's AUROC, the best score, and the conclusion."""
        ours, theirs = self.names
        by_name = {scored.definition.name: scored for scored in self.scored}
        models = [scored for scored in self.scored if scored.definition.name != CONTROL]
        best = max(models, key=lambda scored: scored.separation.auroc)
        sentences = []
        if "surprise" in by_name:
            likelihood = by_name["surprise"]
            sentences.append(
                f"{_reported(likelihood)} at telling {theirs} from {ours}"
                f"{_consequence(likelihood)}."
            )
        if best.definition.name != "surprise":
            sentences.append(
                f"{_reported(best)}, the highest here: seen on {theirs} themselves, which is "
                "no evidence that this score is the best on other data."
            )
        if self.refine_steps:
            sentences.append(
                f"Bound and log p(x) are of guides fitted to each observation in "
                f"{self.refine_steps} steps."
            )
        for why in dict.fromkeys(self.left_out.values()):
            labels = [label for label, reason in self.left_out.items() if reason == why]
            sentences.append(f"Left out ({'; '.join(labels)}): {why}.")
        return " ".join(sentences)

    def numbers(self) -> list[Number]:
        """AUROC and AUPRC of each score, and the mean of the score on either set."""
        return [number for scored in self.scored for number in self._numbers(scored)]

    def variables(self) -> dict[str, Variable]:
        """All scores of all data."""
        return {
            f"{scored.definition.name}_{side}": Variable(
                (side,), values, f"{scored.definition.meaning}, in nats, of {name}"
            )
            for scored in self.scored
            for side, name, values in zip(
                ("inside", "outside"), self.names, scored[1:3], strict=True
            )
        }

    def _numbers(self, scored: Scored) -> Iterator[Number]:
        definition, found = scored.definition, scored.separation
        label, meaning = definition.label, definition.meaning
        share = len(self.outside) / (len(self.inside) + len(self.outside))
        yield Number(
            f"AUROC of {label}",
            found.auroc,
            "",
            f"probability that an observation of {self.names[1]} scores higher than one of "
            f"{self.names[0]} by {meaning}; 0.5 without information",
            definition.reference,
            interval=found.auroc_interval,
        )
        yield Number(
            f"AUPRC of {label}",
            found.auprc,
            "",
            f"average precision of finding {self.names[1]} by {meaning}; {share:.3g} without "
            "information",
            definition.reference,
            interval=found.auprc_interval,
        )
        for name, values in zip(self.names, scored[1:3], strict=True):
            yield Number(
                f"mean {label} of {name}",
                float(values.mean()),
                "nats",
                meaning,
                definition.reference,
                float(values.std(ddof=1) / len(values) ** 0.5) if len(values) > 1 else None,
            )


@options_checked
def score_outliers(
    autoencoder: Autoencoder,
    train: Dataset | Splits,
    inside: Any,
    outside: Any,
    *,
    names: tuple[str, str] = ("inside", "outside"),
    samples: int = SAMPLES,
    steps: int = STEPS,
    refine_steps: int = 0,
    progress: bool = False,
) -> Outliers:
    """Score held-out data and data of another kind by all scores that apply.

    Neither set may contain training data, whose scores are lower than those of any new data.

    Args:
        autoencoder: Model and guide.
        train: Training data, as loaded or as the model sees them; or splits that have them.
        inside: Held-out data of the same kind; see :func:`pyrovae.exploration.traversal.traverse`.
        outside: Data of another kind, likewise; bits, if the others are.
        names: Names of the two sets.
        samples: Latents drawn from the guide for each observation.
        steps: Optimiser steps to find the best q for an observation.
        refine_steps: Gradient steps in which the guide is fitted to each observation before its
            bound and log p(x) are estimated: where the encoder fails, as it may on outside data,
            both are too low.
        progress: Show progress bars on stderr.

    Raises:
        SpecError: The guide is to be refined, and is a point or has no encoder.
        DataError: A set is empty or of another shape, or a density is not finite.
    """
    call = "score_outliers(vae, train, inside, outside)"
    samples = as_count("score_outliers", samples, "samples")
    steps = as_count("score_outliers", steps, "steps")
    train = split_of(call, autoencoder, train.train if isinstance(train, Splits) else train)
    inside, outside = (
        batch_of(f"score_outliers, {name}", autoencoder, data)
        for name, data in zip(names, (inside, outside), strict=True)
    )
    both = Batch.cat([inside, outside])
    seen = _seen(autoencoder, train, both, samples, steps, refine_steps, progress)
    scored, left_out = [], {}
    for definition in SCORES:
        try:
            values = _finite(definition.of(seen)).cpu().double().numpy()
        except (SpecError, DataError) as error:
            left_out[definition.label] = str(error)
            continue
        ours, theirs = np.split(values, [len(inside)])
        scored.append(Scored(definition, ours, theirs, separation(ours, theirs)))
    return Outliers(
        names,
        inside.x.cpu(),
        outside.x.cpu(),
        tuple(scored),
        left_out,
        samples,
        steps,
        refine_steps,
    )


def _seen(
    autoencoder: Autoencoder,
    train: Dataset,
    batch: Batch,
    samples: int,
    steps: int,
    refine_steps: int,
    progress: bool,
) -> ScoreInputs:
    """Compute the inputs that several scores share, once."""
    index = torch.linspace(0, len(train) - 1, min(TYPICAL, len(train))).round().long()
    known = observations(train, index).to(batch.device)
    typical = evaluate_pointwise(
        autoencoder,
        known.with_x(known.x.to(batch.x)),
        samples,
        refine_steps=refine_steps,
        progress="training data" if progress else "",
    )
    judged = evaluate_pointwise(
        autoencoder,
        batch,
        samples,
        refine_steps=refine_steps,
        progress="both sets" if progress else "",
    )
    return ScoreInputs(autoencoder, batch, judged, train, typical.log_prob, steps, progress)


def _finite(values: Tensor) -> Tensor:
    bad = int((~values.isfinite()).sum())
    if bad:
        raise DataError(f"it is not finite for {bad} of {len(values)} data")
    return values


def _reported(scored: Scored) -> str:
    found = scored.separation
    low, high = found.auroc_interval
    return f"{scored.definition.label} has AUROC {found.auroc:.3f} [{low:.3f}, {high:.3f}]"


def _consequence(scored: Scored) -> str:
    """Return the remark on an AUROC that is not above a half, to follow the number."""
    low, high = scored.separation.auroc_interval
    if high < 0.5:
        return ", below 0.5: the model finds the outside data more likely than its own"
    return "" if low > 0.5 else ", not above 0.5 beyond chance: it does not tell them apart"
