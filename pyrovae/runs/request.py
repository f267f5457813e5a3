"""Request for a run: specifications, data and folders. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyrovae.errors import CheckpointError, SpecError
from pyrovae.runs.facts import (
    ARGUMENTS,
    FACTS,
    INFERENCE,
    PROGRAM,
    RefinedFacts,
    RunFacts,
    announce_data,
    announce_program,
    announce_trackers,
    is_program,
    model_file,
    only_begun,
)
from pyrovae.runs.manifest import verify
from pyrovae.specs import InferenceSpec, ModelSpec
from pyrovae.specs.computation import Compile, Computation, Precision
from pyrovae.specs.data import DataFile, is_data_file
from pyrovae.specs.files import find
from pyrovae.specs.own import announce, own_kinds
from pyrovae.specs.program import ProgramSpec, read_arguments
from pyrovae.specs.settings import set_inference, set_model
from pyrovae.specs.split import Split
from pyrovae.specs.tracking import TRACKERS, TrackerName, require_tracker

NONE = "none"
"""In place of a tracker or a callback: none, also where the resumed run has some."""


@dataclass(frozen=True)
class RunSpec:
    """Specification of a run.

    Attributes:
        model: The model's specification, or that of the program that defines it.
        model_name: Name of the model.
        inference: The inference's specification.
        inference_name: Name of the inference.
        data: Name or path of the data.
        data_root: Folder of named data sets.
        output: Folder to write to, None for a new one under ``runs/``.
        resume: Folder of the run to resume.
        start: Folder of the run whose weights it starts at, where names and shapes agree.
        split: The split of one's own, if there is one.
        refined: The run whose guide is refined, and the goal, if it is a refinement.
        tracked: Names of the tools that track the training.
        callbacks: Classes of callbacks by module and name.
        device: "auto", "cpu", "cuda", or one of several GPUs, such as "cuda:1".
        computation: Options of compilation and precision.
    """

    model: ModelSpec | ProgramSpec
    model_name: str
    inference: InferenceSpec
    inference_name: str
    data: str
    data_root: Path
    output: Path | None
    resume: Path | None
    device: str
    computation: Computation = field(default_factory=Computation)
    start: Path | None = None
    split: Split | None = None
    refined: RefinedFacts | None = None
    tracked: tuple[TrackerName, ...] = ()
    callbacks: tuple[str, ...] = ()

    @classmethod
    def read(
        cls,
        *,
        model: str | None = None,
        inference: str | None = None,
        overrides: Mapping[str, Any] | None = None,
        data: str | None = None,
        data_root: Path | None = None,
        output: Path | None = None,
        resume: Path | None = None,
        start: Path | None = None,
        split: Split | None = None,
        tracked: Sequence[str] | None = None,
        callbacks: Sequence[str] | None = None,
        device: str = "auto",
        compile: Compile | None = None,
        precision: Precision | None = None,
    ) -> RunSpec:
        """Read and validate the specifications; None means the resumed run's value or the default.

        Raises:
            SpecError: A specification cannot be read or is not valid, or the output folder is
                not empty, or a tracker is not installed.
            CheckpointError: The folder to resume from is not a run's.
        """
        _require_new(output)
        begun = _Usual.for_data(data) if resume is None else _Usual.of(resume)
        model_path = find(model or begun.model_file, "models")
        inference_path = find(inference or begun.inference_file, "inference")
        settings = overrides or {}
        chosen = set_inference(inference_path, settings)
        if chosen.frozen == "model" and start is None and resume is None:
            raise SpecError(
                "inference.frozen = 'model' fits the guide of a fitted model: name its run with "
                "--start, or use python -m pyrovae.refine RUN"
            )
        if resume is not None and data is None:
            others = () if begun.split is None else begun.split.files
            announce_data(resume, begun.data, begun.data_root, others)
        if resume is not None and callbacks is None:
            for kind in begun.callbacks:
                announce(kind, resume)
        if resume is not None and tracked is None:
            announce_trackers(resume, begun.tracked)
        program = {f"program.{key}": value for key, value in begun.arguments.items()}
        declared = set_model(model_path, {**program, **settings})
        if resume is not None:
            for kind in [*own_kinds(declared), *own_kinds(chosen)]:
                announce(kind, resume)
        return cls(
            model=declared,
            model_name=begun.model or model_path.stem,
            inference=chosen,
            inference_name=begun.inference or inference_path.stem,
            data=data or begun.data,
            data_root=data_root or begun.data_root,
            output=output,
            resume=resume,
            start=start,
            split=split or begun.split or _own_split(data),
            refined=begun.refined,
            tracked=_trackers(begun.tracked if tracked is None else tracked),
            callbacks=tuple(begun.callbacks if callbacks is None else _named(callbacks)),
            device=device,
            computation=Computation(
                compile or begun.computation.compile, precision or begun.computation.precision
            ),
        )


@dataclass(frozen=True)
class _Usual:
    """Values of options that are not given: defaults, or those of the resumed run."""

    model_file: str = "vae"
    model: str | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    inference_file: str = "svi"
    inference: str | None = None
    data: str = "digits"
    data_root: Path = Path("data")
    split: Split | None = None
    computation: Computation = field(default_factory=Computation)
    refined: RefinedFacts | None = None
    tracked: tuple[TrackerName, ...] = ()
    callbacks: tuple[str, ...] = ()

    @classmethod
    def for_data(cls, data: str | None) -> _Usual:
        """Defaults of a new run; the digits are few."""
        few = data in (None, cls.data)
        return cls(inference_file="small_data" if few else "svi")

    @classmethod
    def of(cls, folder: Path) -> _Usual:
        """Values of the resumed run."""
        facts = RunFacts.read(folder)
        verify(folder, FACTS)
        if is_program(folder):
            verify(folder, PROGRAM, ARGUMENTS)
            announce_program(folder)
        return cls(
            model_file=str(model_file(folder)),
            model=facts.model,
            arguments=read_arguments(folder / ARGUMENTS) if is_program(folder) else {},
            inference_file=str(folder / INFERENCE),
            inference=facts.inference,
            data=facts.data.source,
            data_root=Path(facts.data.root),
            split=recorded_split(folder, facts),
            computation=facts.computation,
            refined=facts.refined,
            tracked=facts.tracked,
            callbacks=facts.callbacks,
        )


def recorded_split(folder: Path, facts: RunFacts) -> Split | None:
    """The split of a run's data, if it is one of a user's own.

    Raises:
        CheckpointError: ``run.json`` does not say one.
    """
    if facts.data.split is None:
        return None
    try:
        return Split.of(facts.data.split)
    except SpecError as error:
        raise CheckpointError(f"{folder / FACTS} is damaged: {error}") from None


def _own_split(data: str | None) -> Split | None:
    """The split that a data file says."""
    return DataFile.read(data).split if data is not None and is_data_file(data) else None


def _named(words: Iterable[str]) -> list[str]:
    """The words in their order, each once; ``none`` stands for no further one."""
    return [word for word in dict.fromkeys(words) if word != NONE]


def _trackers(names: Sequence[str]) -> tuple[TrackerName, ...]:
    """The tools that are named, if they are installed.

    Raises:
        SpecError: One is not.
    """
    asked = _named(names)
    for name in asked:
        require_tracker(name, f"--track {name}")
    return tuple(name for name in TRACKERS if name in asked)


def _require_new(output: Path | None) -> None:
    """As :func:`require_empty`, but a run in which nothing was saved may begin again."""
    if output is None or not output.is_dir() or not only_begun(output):
        require_empty(output)


def require_empty(output: Path | None) -> None:
    """Refuse an output folder that is not empty.

    Raises:
        SpecError: The path is not a folder, or the folder is not empty.
    """
    if output is None or not output.exists() or _empty(output):
        return
    raise SpecError(f"--output {output}: not an empty folder; name another")


def _empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())
