"""The folder of a run: specifications, metrics and checkpoint."""

from __future__ import annotations

import io
import itertools
import json
import logging
import pickle
import platform
import time
import tomllib
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import pyro
import torch
from filelock import FileLock, Timeout

from pyrovae.errors import CheckpointError, PyrovaeError, SpecError, reason
from pyrovae.programs.handwritten import Handwritten
from pyrovae.runs.atomic_files import remove_temporary
from pyrovae.runs.facts import (
    ARGUMENTS,
    BEST,
    CHECKPOINT,
    FACTS,
    INFERENCE,
    LAST,
    LOCK,
    MANIFEST,
    METRICS,
    MODEL,
    PROGRAM,
    RunFacts,
)
from pyrovae.runs.manifest import Manifest, verify
from pyrovae.runs.metrics_file import MetricsFile, kept_aside
from pyrovae.runs.weights import file_content
from pyrovae.specs import InferenceSpec, ModelSpec
from pyrovae.specs.files import differences, validate
from pyrovae.training.fit_warnings import FitWarning
from pyrovae.training.loop import Callback, Training
from pyrovae.training.records import Record
from pyrovae.version import __version__

# Keys of an inference with which a run may go on otherwise than it was begun.
MAY_CHANGE = ("epochs ", "early_stopping")
# Most differences that a message names.
SHOWN = 3
logger = logging.getLogger("pyrovae")


class Identity(NamedTuple):
    """Identity of a run: all that must agree for it to be resumed, but for the budget.

    Attributes:
        declarations: Text of the resolved specifications, by file name.
        fingerprint: Fingerprint of the data.
    """

    declarations: dict[str, str]
    fingerprint: str

    @classmethod
    def of(cls, training: Training) -> Identity:
        """Identity of a training that is about to begin, or to be resumed."""
        return cls(declarations(training), training.splits.fingerprint())


def declarations(training: Training) -> dict[str, str]:
    """The resolved specifications, as the files that a run keeps."""
    autoencoder = training.autoencoder
    if isinstance(autoencoder, Handwritten):
        program = autoencoder.path.read_text(encoding="utf-8")
        arguments = {ARGUMENTS: autoencoder.spec.to_toml()} if autoencoder.spec.arguments else {}
        return {PROGRAM: program, **arguments, INFERENCE: training.spec.to_toml()}
    declaration = autoencoder.declaration
    if declaration is None:
        return {INFERENCE: training.spec.to_toml()}
    return {MODEL: declaration.model.to_toml(), INFERENCE: declaration.inference.to_toml()}


class Saved(NamedTuple):
    """What a checkpoint holds.

    Attributes:
        state: State of the training, for :meth:`pyrovae.Training.load_state_dict`.
        inference: The inference that it was saved under.
    """

    state: dict[str, Any]
    inference: InferenceSpec


class RunWriter(Callback):
    """Callback that writes the run's folder.

    ``checkpoint.pt`` is the whole state, replaced atomically after each epoch and on
    interruption; the other files are for users and their tools. No file is a pickle that has to
    be trusted: weights are safetensors, and the state is read with ``weights_only=True``. The
    check sums of all are in ``manifest.json``.

    Args:
        folder: Output folder; must exist.
        identity: Identity of the run, which must agree if it is resumed.
    """

    def __init__(self, folder: Path, identity: Identity) -> None:
        self.folder = folder
        self.identity = identity
        self.manifest = Manifest.of(folder)

    def on_start(self, training: Training) -> None:
        """Save the state before the first epoch; drop metrics beyond it."""
        remove_temporary(self.folder)
        found = MetricsFile.read(self.folder)
        fault = found.fault or found.lack(training.epoch)
        if fault and (self.folder / METRICS).exists():
            copy = kept_aside(self.folder / METRICS)
            logger.warning("%s; it is kept as %s", fault, copy.name)
        kept = [r for r in found.records if r["step"] <= training.step and r["split"] != "test"]
        lines = "".join(json.dumps(record) + "\n" for record in kept)
        self.write({METRICS: lines.encode(), CHECKPOINT: self._state(training)})

    def on_epoch_end(self, training: Training, records: Sequence[Record]) -> None:
        """Write the epoch's records and weights, then the state that refers to them."""
        self.record(records)
        weights = file_content(training.autoencoder)
        best = {BEST: weights} if training.best.epoch == training.epoch else {}
        self.write({LAST: weights, **best, CHECKPOINT: self._state(training)})

    def on_warning(self, training: Training, warning: FitWarning) -> None:
        """Write the warnings so far."""
        self.update(warnings=[asdict(warning) for warning in training.warnings])

    def on_end(self, training: Training) -> None:
        """Save the state, also in the middle of an epoch."""
        self.write({CHECKPOINT: self._state(training)})

    def record(self, records: Sequence[Record]) -> None:
        """Add lines to ``metrics.jsonl``."""
        with (self.folder / METRICS).open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(asdict(record)) + "\n" for record in records)
        self.manifest.note(self.folder, METRICS)

    def describe(self, facts: RunFacts) -> None:
        """Write ``run.json``."""
        self.write({FACTS: facts.to_json().encode()})

    def update(self, **changes: Any) -> None:
        """Change some of the facts in ``run.json``."""
        self.describe(RunFacts.read(self.folder).with_changes(changes))

    def write(self, contents: Mapping[str, bytes]) -> None:
        """Replace files of the run, one after the other, and their check sums."""
        self.manifest.replace(self.folder, contents)

    def remove(self, name: str) -> None:
        """Remove a file of the run, and its check sum."""
        self.manifest.remove(self.folder, name)

    def _state(self, training: Training) -> bytes:
        buffer = io.BytesIO()
        torch.save({**self.identity._asdict(), "state": training.state_dict()}, buffer)
        return buffer.getvalue()


def new_folder(wanted: Path | None, *words: str) -> Path:
    """Make a new folder: the given one, or ``runs/<time>-<word>-<word>``.

    Raises:
        PyrovaeError: The folder cannot be made.
    """
    stem = "-".join([time.strftime("%Y%m%d-%H%M%S"), *words])
    names = (stem if count == 1 else f"{stem}-{count}" for count in itertools.count(1))
    try:
        if wanted is not None:
            wanted.mkdir(parents=True, exist_ok=True)
            return wanted
        return next(folder for name in names if (folder := _made(Path("runs") / name)))
    except OSError as error:
        raise PyrovaeError(f"{error.filename} cannot be made: {error.strerror}") from None


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes from training into a run's folder.

    Raises:
        CheckpointError: Another process is training into it.
    """
    lock = FileLock(folder / LOCK, timeout=0.2)  # a reader holds it for a moment
    try:
        lock.acquire()
    except Timeout:
        raise CheckpointError(
            f"{folder}: another process is training into it: wait for its end, or name another "
            "--output"
        ) from None
    try:
        yield
    finally:
        with suppress(OSError):  # a folder that is gone
            (folder / LOCK).unlink(missing_ok=True)
        lock.release()


def is_trained(folder: Path) -> bool:
    """True if a process is training into the folder; one that was killed is not."""
    if not (folder / LOCK).exists():
        return False
    try:
        with FileLock(folder / LOCK, timeout=0):
            return False
    except Timeout:
        return True
    except OSError:  # a folder that cannot be written to: nobody can tell
        return True


def clear(folder: Path) -> None:
    """Remove the files of a run that has saved no state yet; what makes it one comes last."""
    for name in (MANIFEST, MODEL, PROGRAM, ARGUMENTS, INFERENCE, METRICS, FACTS):
        (folder / name).unlink(missing_ok=True)
    remove_temporary(folder)


def _made(folder: Path) -> Path | None:
    """Make the folder; None if another run has just made it."""
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        return None
    return folder


def read_checkpoint(folder: Path, identity: Identity) -> Saved:
    """Content of ``checkpoint.pt``.

    Raises:
        CheckpointError: The file is missing, damaged or truncated, or belongs to another run.
    """
    saved = _load_checkpoint(folder / CHECKPOINT)
    verify(folder, CHECKPOINT)
    for name, text in identity.declarations.items():
        changed = _differences(_completed(name, saved["declarations"].get(name, "")), text)
        if changed:
            raise CheckpointError(
                f"--resume {folder}: the run was begun with another {name}: {changed}; "
                "begin a new run for that: only inference.epochs and inference.early_stopping may "
                "change"
            )
    if saved["fingerprint"] != identity.fingerprint:
        raise CheckpointError(f"--resume {folder}: the run was begun on other data")
    text = saved["declarations"][INFERENCE]
    return Saved(saved["state"], validate(tomllib.loads(text), InferenceSpec, INFERENCE))


def _load_checkpoint(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise CheckpointError(
            f"there is no {path} to resume from: where nothing is trained yet, give the first "
            "command again"
        )
    try:
        # torch writes check sums, but does not verify them.
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise CheckpointError(f"{path} is damaged: {damaged} is not as it was written")
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except PyrovaeError:
        raise
    except pickle.UnpicklingError:  # torch advises to trust it
        raise CheckpointError(
            f"{path} is damaged or truncated, or holds objects that no run writes: it is not read"
        ) from None
    except Exception as error:  # damage may make zipfile and torch raise anything
        raise CheckpointError(f"{path} is damaged or truncated: {reason(error)}") from None
    if not isinstance(saved, dict) or saved.keys() != {*Identity._fields, "state"}:
        raise CheckpointError(f"{path} is not the checkpoint of a run")
    return saved


def _completed(name: str, saved: str) -> str:
    """A saved specification with the keys that have come since, at their defaults."""
    try:
        if name == MODEL:
            return validate(tomllib.loads(saved), ModelSpec, name).to_toml()
        if name == INFERENCE:
            return validate(tomllib.loads(saved), InferenceSpec, name).to_toml()
    except (SpecError, tomllib.TOMLDecodeError):
        pass  # a key that is gone; it will be named
    return saved


def _differences(saved: str, text: str) -> str:
    """Differences of two files, key by key where they are TOML, that a run may not have."""
    if saved == text:
        return ""
    try:
        changed = differences(tomllib.loads(saved), tomllib.loads(text))
    except tomllib.TOMLDecodeError:
        return "the program has changed"
    kept = [each for each in changed if not each.startswith(MAY_CHANGE)]
    kept.sort(key=lambda each: ".kind " not in each)  # a new kind changes the keys beside it
    more = [f"and {len(kept) - SHOWN} more"] if len(kept) > SHOWN else []
    return "; ".join([*kept[:SHOWN], *more])


def versions() -> dict[str, str]:
    """Versions of the packages that a run depends on."""
    return {
        "pyrovae": __version__,
        "python": platform.python_version(),
        "pyro-ppl": pyro.__version__,
        "torch": torch.__version__,
    }


def kept_weights(training: Training) -> dict[str, Any]:
    """Epochs and validation ELBOs of the kept and of the best weights."""
    best, kept = training.best, training.kept
    return {
        "kept": kept.which,
        "epoch": kept.epoch,
        "validation_elbo": kept.elbo,
        "best_epoch": best.epoch,
        "best_validation_elbo": best.elbo,
    }
