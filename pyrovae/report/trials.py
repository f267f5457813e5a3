"""Trials of a sweep, and the table of them in the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

State = Literal["finished", "pruned", "failed", "running"]

# Trials that the terminal shows.
SHOWN = 10


@dataclass(frozen=True)
class Trial:
    """A trial of a sweep.

    Attributes:
        number: Its number, from 0 on.
        folder: Folder of its run.
        state: "running" also where the process was killed.
        values: Values of the keys that are searched.
        objective: What the sweep maximises or minimises; of a trial that has not finished, the
            last; None if there is none yet.
        error: Standard error of the objective over observations, if it is known.
        epochs: Epochs that have ended.
        why: Sentence about a failure.
    """

    number: int
    folder: Path
    state: State
    values: Mapping[str, Any]
    objective: float | None
    error: float | None
    epochs: int
    why: str = ""

    @property
    def name(self) -> str:
        """Name of its folder."""
        return self.folder.name

    def measured(self) -> str:
        """The objective with its standard error, in nats."""
        if self.objective is None:
            return "-"
        if self.error is None:
            return f"{self.objective:.2f}"
        return f"{self.objective:.2f} ± {self.error:.2f}"


@dataclass(frozen=True)
class Sweep:
    """All trials of a sweep.

    Attributes:
        folder: Its folder.
        objective: What is to be best.
        maximised: Whether that is the largest.
        wanted: Number of trials that were asked for.
        keys: Keys that are searched, each with whether its scale is logarithmic.
        trials: The trials by number.
    """

    folder: Path
    objective: str
    maximised: bool
    wanted: int
    keys: Mapping[str, bool]
    trials: Sequence[Trial]

    @property
    def best(self) -> Trial | None:
        """The best of the finished trials; None if there is none."""
        found = self.ranked()
        return found[0] if found and found[0].state == "finished" else None

    def of(self, state: State) -> list[Trial]:
        """The trials in a state, by number."""
        return [trial for trial in self.trials if trial.state == state]

    def ranked(self) -> list[Trial]:
        """The trials: finished ones from best to worst, then pruned, running and failed ones."""
        order: list[State] = ["finished", "pruned", "running", "failed"]
        return sorted(self.trials, key=lambda trial: (order.index(trial.state), self._loss(trial)))

    def summary(self) -> str:
        """The numbers of trials by state, and the best, in a sentence."""
        states: tuple[State, ...] = ("finished", "pruned", "failed", "running")
        counts = [f"{len(self.of(state))} {state}" for state in states if self.of(state)]
        said = f"{len(self.trials)} of {self.wanted} trials: {', '.join(counts) or 'none'}"
        if self.best is None:
            return said
        return f"{said}; best is {self.best.name}, {self.objective} {self.best.measured()} nats"

    def _loss(self, trial: Trial) -> float:
        if trial.objective is None:
            return math.inf
        return -trial.objective if self.maximised else trial.objective


def table(found: Sweep) -> str:
    """The best trials, a line each, and the summary."""
    names = short_names(list(found.keys))
    head = ["trial", found.objective, "state", *names.values()]
    ranked = found.ranked()
    rows = [
        [trial.name, trial.measured(), in_words(trial)]
        + [written(trial.values.get(key)) for key in found.keys]
        for trial in ranked[:SHOWN]
    ]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [head, *rows]
    ]
    left = len(ranked) - SHOWN
    more = [f"and {left} more"] if left > 0 else []
    return "\n".join(["", *lines, *more, found.summary()])


def in_words(trial: Trial) -> str:
    """The state of a trial, with the epochs after which it was pruned or has come to."""
    if trial.state in ("pruned", "running"):
        return f"{trial.state}, {trial.epochs} epoch{'' if trial.epochs == 1 else 's'}"
    return trial.state


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """The last words of each key that no other key ends with; of a kind or a value, two or more.

    Example:
        >>> short_names(["model.prior.kind", "inference.beta.value", "inference.epochs"])
        {'model.prior.kind': 'prior.kind', 'inference.beta.value': 'beta.value',
         'inference.epochs': 'epochs'}
    """
    return {key: _short(key, [other for other in keys if other != key]) for key in keys}


def _short(key: str, others: Sequence[str]) -> str:
    words = key.split(".")
    least = 2 if words[-1] in ("kind", "value") else 1
    ends = [".".join(words[-count:]) for count in range(least, len(words) + 1)]
    return next(end for end in ends if not any(f".{o}".endswith(f".{end}") for o in others))


def written(value: Any) -> str:
    """A value of a key, in three digits.

    Example:
        >>> written(0.00123456), written("vamp"), written(128)
        ('0.00123', 'vamp', '128')
    """
    if value is None:
        return "-"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
