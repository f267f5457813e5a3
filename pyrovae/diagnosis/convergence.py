"""Convergence of the training that the weights come from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pyrovae.errors import SpecError
from pyrovae.evaluation.hidden_units import HiddenUnits
from pyrovae.evaluation.results import Check, Grade, Number, Variable, Verdict, grade, worse
from pyrovae.training.records import History, Record

# Ours: nats per observation that the last epochs still bring or cost, as for the bound; the share
# of the KL by which the training ELBO may be above that of validation; the share of dead units.
CHANGE_WARN, CHANGE_FAIL = 0.5, 2.0
GENERALISATION_WARN = 0.25
DEAD_WARN = 0.5
# The last epochs: a fifth of all, and five at least.
SHARE, FEWEST_EPOCHS = 0.2, 5
STANDARD_ERRORS = 2.0


class Trend(NamedTuple):
    """Change of a number over the last epochs, by a least-squares line through them.

    Attributes:
        measure: "ELBO", or "objective" if training maximises another one.
        change: Last point of the line less its first, in nats per observation.
        error: Standard error of the change.
        epochs: Number of these epochs.
    """

    measure: str
    change: float
    error: float
    epochs: int

    def grade(self) -> Grade:
        """Grade of the change, if it is beyond noise."""
        if abs(self.change) <= STANDARD_ERRORS * self.error:
            return "ok"
        return grade(abs(self.change), CHANGE_WARN, CHANGE_FAIL)


@dataclass(frozen=True, eq=False, repr=False)
class Convergence(Check):
    """Learning curves, the trend at their end, and hidden units.

    Attributes:
        epochs: Epochs ``(epoch,)``.
        train: ELBO of the training data in nats per observation, a mean over the epoch while the
            weights move, ``(epoch,)``.
        validation: ELBO of the validation data at the end of the epoch, ``(epoch,)``.
        kept: Place in these arrays of the epoch whose weights are kept.
        share: Training less validation ELBO at that epoch, as a share of the KL there.
        trend: Trend of the validation data.
        units: Hidden units of the networks.
    """

    question = "convergence"

    epochs: NDArray[np.int64]
    train: NDArray[np.float64]
    validation: NDArray[np.float64]
    kept: int
    share: float
    trend: Trend
    units: HiddenUnits

    @property
    def gap(self) -> float:
        """Training less validation ELBO at the kept weights, in nats per observation."""
        return float(self.train[self.kept] - self.validation[self.kept])

    def verdict(self) -> Verdict:
        """The worst grade of trend, gap and units, with the advice on the first that is not ok."""
        moving = "ok" if self._fell_later else self.trend.grade()
        grades: dict[str, Grade] = {
            self._longer_or_shorter(): moving,
            _OVERFITTED: "WARN" if self.share > GENERALISATION_WARN else "ok",
            _DEAD: "WARN" if self.units.dead > DEAD_WARN * self.units.total else "ok",
        }
        worst: Grade = "ok"
        for found in grades.values():
            worst = worse(worst, found)
        advice = next((text for text, found in grades.items() if found != "ok"), "")
        return Verdict(worst, self._finding(), advice)

    def numbers(self) -> list[Number]:
        """Trend, generalisation gap, best epoch and dead units."""
        best = int(np.nanargmax(self.validation))
        epoch = self.epochs[self.kept]
        return [
            Number(
                f"change of the validation {self.trend.measure}",
                self.trend.change,
                "nats",
                f"of a least-squares line over the last {self.trend.epochs} epochs",
                error=self.trend.error,
            ),
            Number(
                "generalisation gap",
                self.gap,
                "nats",
                f"training ELBO - validation ELBO at epoch {epoch}, whose weights are kept",
            ),
            Number(
                "best validation ELBO",
                float(self.validation[best]),
                "nats",
                f"the highest of all epochs, that of epoch {self.epochs[best]}",
            ),
            Number(
                "dead units",
                float(self.units.dead),
                "units",
                f"of {self.units.total} rectified hidden units, zero for every observation",
                "arXiv:1903.06733",
            ),
        ]

    def variables(self) -> dict[str, Variable]:
        """The learning curves."""
        train = "ELBO of the training data, mean over the epoch, nats"
        validation = "ELBO of the validation data after the epoch, nats"
        return {
            "training_elbo": Variable(("epoch",), self.train, train),
            "validation_elbo": Variable(("epoch",), self.validation, validation),
        }

    @property
    def _fell_later(self) -> bool:
        """True if a fall, or a rise of another objective, comes after the kept weights."""
        return self.trend.change < 0 and self.kept < len(self.epochs) - 1

    def _longer_or_shorter(self) -> str:
        if self.trend.change > 0:
            return _LONGER.format(self.trend.measure, 2 * self.epochs[-1])
        return _SHORTER.format(self.trend.measure)

    def _finding(self) -> str:
        trend, units = self.trend, self.units
        dead = f"; {units.dead} of {units.total} hidden units dead" if units.dead else ""
        return (
            f"validation {trend.measure} {trend.change:+.2f} ± {trend.error:.2f} nats over the "
            f"last {trend.epochs} epochs; weights of epoch {self.epochs[self.kept]} of "
            f"{self.epochs[-1]}; training ELBO {self.gap:.2f} nats above validation{dead}"
        )


_LONGER = (
    "the validation {} still rises: train longer, inference.epochs = {} at least, before "
    "anything else is changed"
)
_SHORTER = (
    "the validation {} falls: stop earlier, with inference.early_stopping, or lower "
    "inference.optimiser.learning_rate"
)
_OVERFITTED = (
    "the model fits its training data much better than others: get more data, or choose smaller "
    "networks, or inference.optimiser.kind 'adamw' with a larger weight_decay"
)
_DEAD = (
    "most hidden units are zero for all data: lower inference.optimiser.learning_rate, or choose "
    "another model.decoder.activation, such as 'elu'"
)


def check_convergence(history: History, units: HiddenUnits) -> Convergence:
    r"""Check if training had come to rest at the weights that are kept.

    A line is fitted to the validation ELBO over the last fifth of the epochs, or to -loss if
    another objective was maximised. Its change estimates how much as many more epochs would
    bring. It is beyond noise if it is more than two standard errors

    .. math::
        \operatorname{se} = (n - 1)
        \sqrt{\frac{\sum_t r_t^2}{(n - 2) \sum_t (t - \bar t)^2}}

    of the residuals :math:`r_t`, which count as independent.

    Args:
        history: What :func:`pyrovae.fit` returned.
        units: Hidden units, see :func:`pyrovae.evaluation.hidden_units.hidden_units`.

    Raises:
        SpecError: There are fewer than three epochs, which show no trend.
    """
    train, validation = (
        {record.epoch: record for record in history if record.split == split}
        for split in ("train", "validation")
    )
    epochs = sorted(train.keys() & validation.keys())
    if len(epochs) < 3:
        raise SpecError(
            f"{len(epochs)} epochs of training show no trend: train longer, with "
            "inference.epochs = 10 at least"
        )
    here = epochs.index(history.kept) if history.kept in epochs else len(epochs) - 1
    now = validation[epochs[here]]
    return Convergence(
        epochs=np.array(epochs),
        train=np.array([train[epoch].elbo for epoch in epochs]),
        validation=np.array([validation[epoch].elbo for epoch in epochs]),
        kept=here,
        share=(train[epochs[here]].elbo - now.elbo) / max(now.kl, 1.0),
        trend=_trend([validation[epoch] for epoch in epochs]),
        units=units,
    )


def _trend(validation: Sequence[Record]) -> Trend:
    last = validation[-max(FEWEST_EPOCHS, math.ceil(SHARE * len(validation))) :]
    is_elbo = all(math.isclose(r.elbo, -r.loss, rel_tol=1e-3, abs_tol=1e-3) for r in last)
    values = np.array([record.elbo if is_elbo else -record.loss for record in last])
    time = np.arange(len(values)) - (len(values) - 1) / 2
    slope = time @ values / (time @ time)
    residuals = values - values.mean() - slope * time
    error = math.sqrt(residuals @ residuals / (len(values) - 2) / (time @ time))
    span = len(values) - 1
    return Trend("ELBO" if is_elbo else "objective", float(slope * span), error * span, len(last))
