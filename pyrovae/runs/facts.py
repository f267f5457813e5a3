"""The files of a run's folder, and what ``run.json`` says. Imports no torch."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from packaging.version import InvalidVersion, Version
from pydantic import BaseModel, ConfigDict, ValidationError

from pyrovae.errors import CheckpointError, reason
from pyrovae.specs.computation import Computation
from pyrovae.specs.data import DataFile, is_data_file
from pyrovae.specs.own import NAME, announce
from pyrovae.specs.tracking import TrackerName
from pyrovae.version import __version__

FACTS = "run.json"
MODEL = "model.toml"
PROGRAM = "model.py"
ARGUMENTS = "program.toml"
INFERENCE = "inference.toml"
METRICS = "metrics.jsonl"
CHECKPOINT = "checkpoint.pt"
WEIGHTS = "weights.safetensors"
LAST = "last.safetensors"
BEST = "best.safetensors"
FIGURES = "figures"
MANIFEST = "manifest.json"
LOCK = ".lock"

Status = Literal["running", "interrupted", "failed", "diverged", "finished"]
Goal = Literal["calibrated"] | float

logger = logging.getLogger("pyrovae")


class _Facts(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow")


class DataFacts(_Facts):
    """The data that a run was fitted to.

    Attributes:
        source: Name, or absolute path.
        root: Folder of named data sets.
        fingerprint: Fingerprint of the data as the model saw them.
        shape: Shape of one observation.
        levels: Largest intensity; None for real values.
        sizes: Number of observations in each split.
        columns: Names of the columns of a table, if they are known.
        split: The split of one's own, by key, if there is one.
        transforms: Functions that the values went through, by column.
    """

    source: str
    root: str
    fingerprint: str
    shape: tuple[int, ...]
    levels: float | None = None
    sizes: dict[str, int] = {}
    columns: tuple[str, ...] = ()
    split: dict[str, Any] | None = None
    transforms: dict[str, str] = {}


class GuideFacts(_Facts):
    """Agreement of a guide with the posterior, on data from the model.

    Attributes:
        divergence: KL(p, q) + KL(q, p), in nats.
        divergence_error: Its standard error.
        coverage: Coverage of the central 90 % interval of each active latent, by name.
        calibrated: Whether the calibration is in order.
    """

    divergence: float
    divergence_error: float
    coverage: dict[str, float]
    calibrated: bool


class RefinedFacts(_Facts):
    """The run of which a guide was refined.

    Attributes:
        run: Its folder, as an absolute path.
        until: Goal at which the fit ends before its budget.
        before: Its guide's agreement with the posterior.
        after: The same of the new guide, once finished.
    """

    run: str
    until: Goal | None = None
    before: GuideFacts | None = None
    after: GuideFacts | None = None


class RunFacts(_Facts):
    """The content of ``run.json``, with the version of pyrovae that wrote it in ``versions``.

    Attributes:
        status: State of the run.
        model: Name of the model.
        inference: Name of the inference.
        versions: Versions of the packages.
        data: The data.
        command: Command line that began the run, and those that changed its budget.
        seed: Seed of the inference.
        device: Device of the training.
        computation: Mode of the computation.
        objective: Title of the objective.
        kl: How the KL of each latent site is computed.
        warnings: Warnings of the fit.
        test: Bound on the test data, once finished.
        weights: Epochs and validation ELBOs of the kept and the best weights, once finished.
        figures: Names of the figures.
        started: Folder of the run at whose weights it started.
        refined: The run whose guide was refined, if it is a refinement.
        tracked: Names of the tools that track it.
        callbacks: Classes of callbacks by module and name.
        processes: How many processes trained it together, the last time.
    """

    status: Status
    model: str
    inference: str
    versions: dict[str, str]
    data: DataFacts
    command: str = ""
    seed: int = 0
    device: str = "cpu"
    computation: Computation = Computation()
    objective: str | None = None
    kl: Mapping[str, str] = {}
    warnings: list[dict[str, Any]] = []
    test: dict[str, Any] | None = None
    weights: dict[str, Any] | None = None
    figures: list[str] = []
    started: str | None = None
    refined: RefinedFacts | None = None
    tracked: tuple[TrackerName, ...] = ()
    callbacks: tuple[str, ...] = ()
    processes: int = 1

    @classmethod
    def read(cls, folder: Path) -> RunFacts:
        """Read the facts of a run.

        Raises:
            CheckpointError: The folder is not a run's, the file is damaged, or a newer version
                wrote it.
        """
        path = folder / FACTS
        if not path.is_file():
            raise CheckpointError(f"{folder} is not the folder of a run: it has no {FACTS}")
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise CheckpointError(f"{path} is damaged: {reason(error)}") from None
        if not isinstance(content, dict):
            raise CheckpointError(f"{path} is damaged: it does not describe a run")
        _require_known_version(folder, content)
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"]))
            raise CheckpointError(f"{path} is damaged: {key}: {first['msg']}") from None

    def with_changes(self, changes: Mapping[str, Any]) -> RunFacts:
        """Copy of the facts with some of them replaced."""
        return self.model_copy(update=dict(changes))

    def to_json(self) -> str:
        """Text of ``run.json``: the facts that are known."""
        return json.dumps(self.model_dump(exclude_unset=True), indent=2)


def is_run(folder: Path) -> bool:
    """True if the folder holds a run."""
    return (folder / FACTS).is_file()


def only_begun(folder: Path) -> bool:
    """True if the folder is empty, or holds no more than a run that has saved no state yet."""
    names = {file.name for file in folder.iterdir()}
    begun = {FACTS, MODEL, PROGRAM, ARGUMENTS, INFERENCE, METRICS} if FACTS in names else set()
    others = names - begun - {MANIFEST, LOCK}
    has_records = METRICS in names and (folder / METRICS).stat().st_size > 0
    return not has_records and all(re.fullmatch(r"\..*\.writing", name) for name in others)


def is_program(folder: Path) -> bool:
    """True if the run's model is a program: a declared run has ``model.toml``, which decides."""
    return (folder / PROGRAM).is_file() and not (folder / MODEL).is_file()


def model_file(folder: Path) -> Path:
    """File that declares the run's model: a program, or a specification."""
    return folder / (PROGRAM if is_program(folder) else MODEL)


def announce_program(folder: Path) -> None:
    """Say that opening the run executes its program."""
    logger.warning("runs %s, the program of this run", folder / PROGRAM)


def announce_trackers(folder: Path, names: Sequence[str]) -> None:
    """Say which tools are about to be told of a training because ``run.json`` names them."""
    if names:
        logger.warning("goes on tracking by %s, which %s names", " and ".join(names), folder)


def announce_data(folder: Path, source: str, root: str | Path, others: Sequence[str] = ()) -> None:
    """Say which data are about to be read because ``run.json`` names them.

    Args:
        folder: Folder of the run.
        source: Name or path of the data, or function that returns them.
        root: Folder of named data sets.
        others: Files that split them.
    """
    if NAME.fullmatch(source):  # a path is absolute
        announce(source, folder)
        return
    where = "" if Path(source).is_absolute() else f" in {root}"
    if source != "digits" or others:  # these come with scikit-learn
        files = " and ".join([f"{source}{where}", *others])
        logger.warning("reads %s, the data of %s", files, folder)
    if is_data_file(source) and Path(source).is_file():
        announce_data(folder, DataFile.read(source).source, root)


def _require_known_version(folder: Path, content: Mapping[str, Any]) -> None:
    try:
        theirs = str(content["versions"]["pyrovae"])
        newer = Version(theirs) > Version(__version__)
    except (KeyError, TypeError, InvalidVersion):
        raise CheckpointError(
            f"{folder / FACTS} is damaged: it does not say which version wrote it"
        ) from None
    if newer:
        raise CheckpointError(
            f"{folder} was made by pyrovae {theirs}, and this is {__version__}: open it with "
            f"{theirs} or later"
        )
