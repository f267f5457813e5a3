"""Trials of a study: Optuna's journal in the sweep's folder, shared by all of its processes.

A trial belongs to the process that holds the lock of its file, which ends with the process. The
journal says what has become of it. So a trial that is running in the journal and unlocked was left
by a process that has ended, and another takes it up.
"""

from __future__ import annotations

import importlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from pyrovae.errors import CheckpointError, SpecError, reason
from pyrovae.report.trials import State, Sweep, Trial
from pyrovae.runs.pruning import Watch
from pyrovae.runs.study import Study

JOURNAL = "journal.log"
LOCK = ".sweep.lock"

# A trial whose process ends so often without an epoch in between is not taken up again.
MOST_LOSSES = 3

FIELDS = {"validation ELBO": "elbo", "validation loss": "loss"}
"""Field of a record, by objective."""

STATES: dict[str, State] = {
    "COMPLETE": "finished",
    "PRUNED": "pruned",
    "FAIL": "failed",
    "RUNNING": "running",
    "WAITING": "running",
}


@dataclass
class Claim:
    """A trial that this process trains, until it is told or left.

    Attributes:
        trial: Optuna's trial.
        values: Values of the keys that are searched.
        folder: Folder of its run.
        lock: Its lock, which is held.
        taken_up: Whether another process began it.
    """

    trial: Any
    values: dict[str, Any]
    folder: Path
    lock: FileLock
    taken_up: bool


class Trials:
    """The trials of a study, in the journal.

    Args:
        study: The study.
        declared: What has to be the same in all processes, by what it is called.

    Raises:
        SpecError: Optuna is not installed, the folder is of something else, or of another study.
        CheckpointError: The journal is damaged.
    """

    def __init__(self, study: Study, declared: Mapping[str, str]) -> None:
        self.optuna = imported()
        self.study, self.folder = study, study.folder
        self.maximised = study.spec.objective == "validation ELBO"
        self.whole = {key: study.is_whole(key) for key in study.spec.search}
        journal = self.folder / JOURNAL
        if self.folder.exists() and not journal.is_file() and _others(self.folder):
            raise SpecError(f"--output {self.folder}: neither empty nor a sweep's: name another")
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.alone():
            self._mend(journal)
            self.known = self._opened(journal)
            self._require_same(declared)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep the other processes of the sweep waiting for a moment."""
        with FileLock(self.folder / LOCK):
            yield

    def claim(self) -> Claim | None:
        """A trial that was left by a process that has ended, or a new one; None if all are taken.

        A new trial depends on the seed of the study, its number, and the trials that have ended.
        """
        with self.alone():
            for found in self.known.get_trials(deepcopy=False):
                if STATES[found.state.name] == "running" and (left := self._left(found.number)):
                    return left
            number = len(self.known.get_trials(deepcopy=False))
            if number >= self.study.spec.trials:
                return None
            self.known.sampler = self._sampler(number)
            trial = self.known.ask()
            lock = self._lock(trial.number)
            assert lock is not None, "a new trial is known to nobody"  # noqa: S101
            return self._claimed(trial, lock, taken_up=False)

    def finish(self, claim: Claim, value: float, error: float | None, *, pruned: bool) -> None:
        """Note the objective of a trial, and give it up."""
        if not math.isfinite(value):
            self.fail(claim, f"its {self.study.spec.objective} is {value}")
            return
        claim.trial.set_user_attr("error", error)
        states = self.optuna.trial.TrialState
        if pruned:  # Optuna takes the last that was reported
            self._tell(claim, state=states.PRUNED)
        else:
            self._tell(claim, values=value)

    def fail(self, claim: Claim, why: str) -> None:
        """Note that a trial has failed, and give it up."""
        claim.trial.set_user_attr("why", why)
        self._tell(claim, state=self.optuna.trial.TrialState.FAIL)

    def leave(self, claim: Claim) -> None:
        """Give up a trial that was interrupted, for any process to take it up."""
        claim.trial.set_user_attr("losses", {})
        claim.lock.release()

    def watching(self, claim: Claim) -> Watch:
        """The callback that reports a trial, and ends it if it is pruned."""
        return Watch(claim.trial, FIELDS[self.study.spec.objective], prune=self.study.spec.prune)

    def sweep(self) -> Sweep:
        """All trials, as they are now."""
        spec = self.study.spec
        return Sweep(
            self.folder,
            spec.objective,
            self.maximised,
            spec.trials,
            {key: search.log for key, search in spec.search.items()},
            [self._shown(found) for found in self.known.get_trials(deepcopy=False)],
        )

    def _mend(self, journal: Path) -> None:
        """Drop a last line that a full disk or the end of a machine has cut off.

        What it said is done again: its trial is still running, and its process has ended.
        """
        if not journal.is_file():
            return
        lock = self.optuna.storages.journal.JournalFileSymlinkLock(str(journal))
        lock.acquire()  # nobody is in the middle of a line
        try:
            content = journal.read_bytes()
            if (whole := content.rfind(b"\n") + 1) < len(content):
                os.truncate(journal, whole)
        finally:
            lock.release()

    def _opened(self, journal: Path) -> Any:
        storages = self.optuna.storages
        try:
            backend = storages.journal.JournalFileBackend(str(journal))
            return self.optuna.create_study(
                study_name="sweep",
                storage=storages.JournalStorage(backend),
                direction="maximize" if self.maximised else "minimize",
                pruner=self.optuna.pruners.MedianPruner(),
                load_if_exists=True,
            )
        except (ValueError, KeyError) as error:
            raise CheckpointError(f"{journal} is damaged: {reason(error)}") from None

    def _require_same(self, declared: Mapping[str, str]) -> None:
        """Refuse another study than that of the folder, but for the number of trials."""
        if not self.known.user_attrs:
            self.known.set_user_attr("declared", dict(declared))
        begun = self.known.user_attrs["declared"]
        for name, text in declared.items():
            if begun.get(name) != text:
                raise SpecError(
                    f"{self.folder} was begun with another {name}: only trials may change; name "
                    "another --output"
                )

    def _left(self, number: int) -> Claim | None:
        """A trial that was left, or None if its process goes on, or it was left too often."""
        lock = self._lock(number)
        if lock is None:
            return None
        found = self.known.get_trials(deepcopy=False)[number]  # it may have ended meanwhile
        if STATES[found.state.name] != "running":
            lock.release()
            return None
        self.known.sampler = self._sampler(number)
        trial = self.optuna.Trial(self.known, found._trial_id)
        claim = self._claimed(trial, lock, taken_up=True)
        epochs = str(len(found.intermediate_values))
        losses = {epochs: found.user_attrs.get("losses", {}).get(epochs, 0) + 1}
        if losses[epochs] >= MOST_LOSSES:
            self.fail(
                claim,
                f"{MOST_LOSSES} processes ended while they trained it, as they do where memory "
                "runs out",
            )
            return None
        trial.set_user_attr("losses", losses)
        return claim

    def _claimed(self, trial: Any, lock: FileLock, *, taken_up: bool) -> Claim:
        values = {key: self._suggested(trial, key) for key in self.study.spec.search}
        return Claim(trial, values, self._folder(trial.number), lock, taken_up)

    def _tell(self, claim: Claim, **what: Any) -> None:
        self.known.tell(claim.trial, **what)
        self._lock_file(claim.trial.number).unlink(missing_ok=True)
        claim.lock.release()

    def _lock(self, number: int) -> FileLock | None:
        """The lock of a trial; None if another process holds it."""
        lock = FileLock(self._lock_file(number), timeout=0)
        try:
            lock.acquire()
        except Timeout:
            return None
        return lock

    def _lock_file(self, number: int) -> Path:
        return self.folder / f".{self._folder(number).name}.lock"

    def _folder(self, number: int) -> Path:
        return self.folder / f"trial-{number:04d}"

    def _sampler(self, number: int) -> Any:
        words = np.random.SeedSequence([self.study.spec.seed, number]).generate_state(1)
        return self.optuna.samplers.TPESampler(seed=int(words[0]))

    def _suggested(self, trial: Any, key: str) -> Any:
        """The value of a key: the one that the trial has, or a new one."""
        search = self.study.spec.search[key]
        if search.choices is not None:
            return _choice(trial.suggest_categorical(key, [json.dumps(c) for c in search.choices]))
        (low, high), log = search.ends, search.log
        if self.whole[key]:
            return trial.suggest_int(key, low, high, log=log)
        return trial.suggest_float(key, low, high, log=log)

    def _shown(self, found: Any) -> Trial:
        reported = found.intermediate_values
        epochs = max(reported, default=0)
        state = STATES[found.state.name]
        return Trial(
            number=found.number,
            folder=self._folder(found.number),
            state=state,
            values={key: _choice(value) for key, value in found.params.items()},
            objective=found.value if state == "finished" else reported.get(epochs),
            error=found.user_attrs.get("error"),
            epochs=epochs,
            why=found.user_attrs.get("why", ""),
        )


def _choice(suggested: Any) -> Any:
    """A value from what Optuna knows, which of choices is their text."""
    return json.loads(suggested) if isinstance(suggested, str) else suggested


def imported() -> Any:
    """Optuna, which says only what goes wrong.

    Raises:
        SpecError: It is not installed.
    """
    try:
        optuna = importlib.import_module("optuna")
    except ImportError:
        raise SpecError(
            'a sweep needs Optuna, which is not installed: pip install "pyrovae[sweep]"'
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _others(folder: Path) -> bool:
    """True if there is something in the folder that no sweep has begun with."""
    return not folder.is_dir() or any(file.name != LOCK for file in folder.iterdir())
