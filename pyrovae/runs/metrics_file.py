"""Reading of ``metrics.jsonl``, and what becomes of a damaged one."""

from __future__ import annotations

import itertools
import json
import shlex
import shutil
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple, get_args

from pyrovae.errors import CheckpointError
from pyrovae.runs.facts import METRICS
from pyrovae.runs.manifest import fault_in
from pyrovae.specs import InferenceSpec
from pyrovae.training.early_stopping import is_better
from pyrovae.training.records import Record, Split

KEYS = {field.name for field in fields(Record)}


class MetricsFile(NamedTuple):
    """The records of a run, without a last line that was cut off.

    Attributes:
        path: The file.
        records: The records that can be read.
        fault: Sentence about the first damage; empty if there is none.
    """

    path: Path
    records: list[dict[str, Any]]
    fault: str

    @classmethod
    def read(cls, folder: Path) -> MetricsFile:
        """Read the records of a run that can be read."""
        path = folder / METRICS
        *lines, last = path.read_bytes().split(b"\n") if path.is_file() else [b""]
        found = [_record(line) for line in lines]
        wrong = [number for number, record in enumerate(found, start=1) if record is None]
        fault = f"{path} is damaged: line {wrong[0]} is no record" if wrong else ""
        end = _record(last)  # whole, but for the end of its line
        return cls(
            path,
            [record for record in (*found, end) if record is not None],
            fault or fault_in(folder, METRICS),
        )

    def lack(self, epochs: int) -> str:
        """Sentence about the first of so many epochs without its records; empty if all have them.

        An epoch is recorded before its state is saved, so a kill leaves no such file.
        """
        there = {(record["epoch"], record["split"]) for record in self.records}
        for epoch in range(1, epochs + 1):
            if not there >= {(epoch, "train"), (epoch, "validation")}:
                return f"{self.path} is damaged: it lacks records of epoch {epoch}"
        return ""


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Records of ``metrics.jsonl``, without a last line that was cut off.

    Raises:
        CheckpointError: The file is damaged.
    """
    found = MetricsFile.read(folder)
    if found.fault:
        raise CheckpointError(
            f"{found.fault}; python -m pyrovae.train --resume {shlex.quote(str(folder))} keeps "
            "the file under another name and goes on with the lines that can be read"
        )
    return found.records


def _validation(folder: Path) -> list[dict[str, Any]]:
    return [record for record in read_metrics(folder) if record["split"] == "validation"]


def last_epoch(folder: Path) -> int:
    """The last epoch that has ended; 0 if none has."""
    return max((record["epoch"] for record in _validation(folder)), default=0)


def best_epoch(folder: Path, inference: InferenceSpec) -> int:
    """The best epoch by validation ELBO, with ``min_delta`` as in training."""
    best, epoch = -float("inf"), 0
    for record in _validation(folder):
        if is_better(record["elbo"], best, inference):
            best, epoch = record["elbo"], record["epoch"]
    return epoch


def kept_aside(path: Path) -> Path:
    """Copy a file to another name, which no other file has, and return it."""
    names = (f"{path.stem}.damaged-{number}{path.suffix}" for number in itertools.count(1))
    new = next(path.with_name(name) for name in names if not path.with_name(name).exists())
    return Path(shutil.copyfile(path, new))


def _record(line: bytes) -> dict[str, Any] | None:
    """The record in a line, if it is one."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not found.keys() >= KEYS:
        return None
    counts = type(found["epoch"]) is type(found["step"]) is int
    return found if counts and _is_number(found["elbo"]) and _has_split(found) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _has_split(found: dict[str, Any]) -> bool:
    return isinstance(found["split"], str) and found["split"] in get_args(Split)
