"""The folder of a run: what was asked, what happened, and how to go on."""

from __future__ import annotations

import io
import json
import platform
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import pyro
import torch

import pyrovae
from pyrovae.errors import CheckpointError, PyrovaeError
from pyrovae.handwritten import Handwritten
from pyrovae.observers import Observer
from pyrovae.records import Record
from pyrovae.request import read_run
from pyrovae.specs.files import differences, to_toml
from pyrovae.training import Training
from pyrovae.weights import save, write_atomically

CHECKPOINT = "checkpoint.pt"
METRICS = "metrics.jsonl"


class Identity(NamedTuple):
    """What makes two runs the same run.

    Attributes:
        declarations: Text of the resolved specifications, by file name.
        fingerprint: Of the data.
    """

    declarations: dict[str, str]
    fingerprint: str

    @classmethod
    def of(cls, training: Training) -> Identity:
        """The identity of a training that is about to begin, or to go on."""
        return cls(declarations(training), training.splits.fingerprint())


def declarations(training: Training) -> dict[str, str]:
    """The resolved specifications, as the files that a run keeps."""
    autoencoder = training.autoencoder
    if isinstance(autoencoder, Handwritten):
        model = {"model.py": autoencoder.path.read_text(encoding="utf-8")}
        return {**model, "inference.toml": to_toml(training.spec)}
    declaration = autoencoder.declaration
    if declaration is None:
        return {"inference.toml": to_toml(training.spec)}
    return {
        "model.toml": to_toml(declaration.model),
        "inference.toml": to_toml(declaration.inference),
    }


class Run(Observer):
    """Writes a training's folder as it goes.

    ``checkpoint.pt`` is the whole state, replaced atomically after each epoch and on
    interruption; the rest is for people and their tools. Nothing in it is a pickle that has
    to be trusted: weights are safetensors, and the state is read with ``weights_only=True``.

    Args:
        folder: Where to write; must exist.
        identity: What the run is of; whoever resumes it must come with the same.
    """

    def __init__(self, folder: Path, identity: Identity) -> None:
        self.folder = folder
        self.identity = identity

    def begun(self, training: Training) -> None:
        """Keep the state to go back to should the first epoch fail; drop metrics beyond it."""
        kept = [r for r in read_metrics(self.folder) if r["step"] <= training.step]
        lines = "".join(json.dumps(record) + "\n" for record in kept if record["split"] != "test")
        write_atomically(self.folder / METRICS, lines.encode())
        self._checkpoint(training)

    def epoch_ended(self, training: Training, records: Sequence[Record]) -> None:
        """Add the epoch's records, then keep the state and the weights."""
        self.record(records)
        self._checkpoint(training)
        save(training.autoencoder, self.folder / "last.safetensors")
        if training.best.epoch == training.epoch:
            save(training.autoencoder, self.folder / "best.safetensors")

    def ended(self, training: Training) -> None:
        """Keep the state, also in the middle of an epoch."""
        self._checkpoint(training)

    def record(self, records: Sequence[Record]) -> None:
        """Add lines to ``metrics.jsonl``."""
        with (self.folder / METRICS).open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(asdict(record)) + "\n" for record in records)

    def describe(self, facts: Mapping[str, Any]) -> None:
        """Add facts to ``run.json``."""
        path = self.folder / "run.json"
        known = read_run(self.folder) if path.is_file() else {}
        write_atomically(path, json.dumps({**known, **facts}, indent=2).encode())

    def _checkpoint(self, training: Training) -> None:
        buffer = io.BytesIO()
        torch.save({**self.identity._asdict(), "state": training.state_dict()}, buffer)
        write_atomically(self.folder / CHECKPOINT, buffer.getvalue())


def new_folder(wanted: Path | None, model: str, inference: str) -> Path:
    """A fresh folder: the one wanted, or ``runs/<time>-<model>-<inference>``.

    Raises:
        PyrovaeError: The folder cannot be made.
    """
    if wanted is None:
        stem = f"{time.strftime('%Y%m%d-%H%M%S')}-{model}-{inference}"
        names = [stem, *(f"{stem}-{count}" for count in range(2, 1000))]
        wanted = next(p for n in names if not (p := Path("runs") / n).exists())
    try:
        wanted.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PyrovaeError(f"{wanted} cannot be written: {error.strerror}") from None
    return wanted


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The records of ``metrics.jsonl``; a last line that was cut off is left out."""
    path = folder / METRICS
    records = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            records.append(json.loads(line))
        except ValueError:
            break
    return records


def read_checkpoint(folder: Path, identity: Identity) -> dict[str, Any]:
    """The state in ``checkpoint.pt``, for :meth:`pyrovae.Training.load_state_dict`.

    Raises:
        CheckpointError: It is missing, damaged or truncated, or is of another run.
    """
    saved = _load_checkpoint(folder)
    for name, text in identity.declarations.items():
        changed = _differences(saved["declarations"].get(name, ""), text)
        if changed:
            raise CheckpointError(
                f"--resume {folder}: the run was begun with another {name}: {changed}; "
                "start a new run for that"
            )
    if saved["fingerprint"] != identity.fingerprint:
        raise CheckpointError(f"--resume {folder}: the run was begun on other data")
    return saved["state"]


def _load_checkpoint(folder: Path) -> dict[str, Any]:
    path = folder / CHECKPOINT
    if not path.is_file():
        raise CheckpointError(f"{folder} has no {CHECKPOINT} to resume from")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever the damage makes it raise
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise CheckpointError(f"{path} is damaged or truncated: {reason}") from None


def _differences(saved: str, text: str) -> str:
    """What is not the same in two files, key by key where they are TOML."""
    if saved == text:
        return ""
    try:
        return "; ".join(differences(tomllib.loads(saved), tomllib.loads(text)))
    except tomllib.TOMLDecodeError:
        return "the program has changed"


def versions() -> dict[str, str]:
    """Versions of all that a run depends on."""
    return {
        "pyrovae": pyrovae.__version__,
        "python": platform.python_version(),
        "pyro-ppl": pyro.__version__,
        "torch": torch.__version__,
    }
