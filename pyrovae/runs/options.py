"""Options of the commands, refused where they cannot work. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pyrovae.errors import SpecError, nearest
from pyrovae.exploration.names import ANALYSES, TRAINING
from pyrovae.runs.facts import Goal
from pyrovae.runs.output_files import require_new
from pyrovae.runs.request import require_empty
from pyrovae.specs.computation import Compile
from pyrovae.specs.local_inference import Resample

Split = Literal["test", "train", "validation", "all"]


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """The data that a run's model is applied to, and where.

    Attributes:
        data: Name or path of the data; by default the run's own.
        data_root: Folder of named data sets; by default that of the run.
        device: "auto", "cpu", "cuda", or one of several GPUs, such as "cuda:1".
    """

    data: str | None = None
    data_root: Path | None = None
    device: str = "auto"


@dataclass(frozen=True, kw_only=True)
class HeldOutOptions(DataOptions):
    """Options of an evaluation on held-out data.

    Attributes:
        runs: Folders of the runs.
        samples: Number of latents drawn for each observation.
        num: Number of test observations; all by default.
        ais: Whether log p(x) is also estimated by annealed importance sampling.
        compile: Whether to compile repeated computations.
    """

    runs: Sequence[Path]
    samples: int = 1000
    num: int | None = None
    ais: bool = False
    compile: Compile = "auto"


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(HeldOutOptions):
    """Options of an evaluation of runs one by one.

    Attributes:
        refine_steps: Gradient steps on the ELBO of each observation before it is evaluated.
        output: Folder to write to, with a folder for each of several runs; by default
            ``RUN/evaluation``.

    Raises:
        SpecError: Two runs would be written to one folder.
    """

    refine_steps: int = 0
    output: Path | None = None

    def __post_init__(self) -> None:
        names = [folder.resolve().name for folder in self.runs]
        for name in names:
            if self.output is not None and names.count(name) > 1:
                raise SpecError(
                    f"--output {self.output}: two of the runs are called {name}: evaluate them "
                    "one by one"
                )


@dataclass(frozen=True, kw_only=True)
class CompareOptions(HeldOutOptions):
    """Options of a comparison.

    Attributes:
        output: Folder to write to; by default a new one under ``runs/``.

    Raises:
        SpecError: There are fewer than two runs, one of them is named twice, or the folder is
            not empty.
    """

    output: Path | None = None

    def __post_init__(self) -> None:
        _require_different(self.runs)
        require_empty(self.output)


@dataclass(frozen=True, kw_only=True)
class RefineOptions:
    """Options of a refinement.

    Attributes:
        run: Folder of the run whose guide is refined.
        inference: Name or file of an inference; by default ``wake_sleep``, with a guide that
            contains that of the run.
        settings: Values by dotted key.
        until: Goal at which the fit ends before its budget; None for the whole budget.
        minutes: Budget, unless ``inference.epochs`` is set.
        output: Folder to write to; by default a new one under ``runs/``.
        data_root: Folder of named data sets; by default that of the run.
        device: "auto", "cpu", "cuda", or one of several GPUs, such as "cuda:1".
        compile: Whether the programs are compiled; by default as in the run.

    Raises:
        SpecError: The goal is none, the budget not positive, or the folder not empty.
    """

    run: Path
    inference: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    until: Goal | None = "calibrated"
    minutes: float = 5.0
    output: Path | None = None
    data_root: Path | None = None
    device: str = "auto"
    compile: Compile | None = None

    def __post_init__(self) -> None:
        if not 0 < self.minutes < float("inf"):
            raise SpecError(f"--minutes {self.minutes:g}: give a positive number of minutes")
        require_empty(self.output)


@dataclass(frozen=True, kw_only=True)
class DiagnoseOptions(DataOptions):
    """Options of a diagnosis.

    Attributes:
        run: Folder of the run.
        full: Whether to also anneal, refine the guide and run chains.
        num: Number of test observations; by default at most 256.
        draws: Number of latents drawn for each.
        output: Folder to write to; by default ``RUN/diagnosis``.
        compile: Whether to compile repeated computations.
    """

    run: Path
    full: bool = False
    num: int | None = None
    draws: int = 1000
    output: Path | None = None
    compile: Compile = "auto"


@dataclass(frozen=True, kw_only=True)
class ExploreOptions(DataOptions):
    """Options of an exploration.

    Attributes:
        run: Folder of the run.
        what: Names of the analyses; by default the usual ones.
        num: Number of test observations.
        datum: Traversals: index of the observation whose latents are changed.
        against: Outliers: name or path of the other data.
        samples: Outliers, debiasing: number of latents for log p(x).
        refine_steps: Outliers: gradient steps on the ELBO of each observation before its bound
            and log p(x) are estimated.
        betas: Ablation, sweep: the values of β.
        rare: Debiasing: the rare classes.
        keep: Debiasing: the fraction of their training data that is kept.
        epochs: Epochs of each refit; by default those of the run.
        output: Folder to write to; by default ``RUN/exploration``.

    Raises:
        SpecError: An analysis is unknown, or an option is missing or without use.
    """

    run: Path
    what: Sequence[str] = ()
    num: int | None = None
    datum: int = 0
    against: str | None = None
    samples: int = 200
    refine_steps: int = 0
    betas: Sequence[float] = ()
    rare: Sequence[int] = ()
    keep: float | None = None
    epochs: int | None = None
    output: Path | None = None

    def __post_init__(self) -> None:
        for name in self.what:
            if name not in ANALYSES:
                raise SpecError(f"there is no analysis '{name}'; {nearest(name, ANALYSES)}")
        if "outliers" in self.what and self.against is None:
            raise SpecError("outliers needs other data to compare with: name them with --against")
        for option, analyses in _USES.items():
            if getattr(self, option) and not set(analyses) & set(self.what):
                raise SpecError(
                    f"--{option.replace('_', '-')} is for {' and '.join(analyses)}, which is not "
                    "asked for"
                )
        if self.keep is not None and not self.rare:
            raise SpecError("--keep needs the classes that it makes rare: name them with --rare")
        trained = [name for name in self.what if name in TRAINING]
        if trained and self.data is not None:
            raise SpecError(
                f"{trained[0]} trains on the data of the run itself: leave --data out, or train "
                "a run on the other data and explore that"
            )


@dataclass(frozen=True, kw_only=True)
class ResultsOptions(DataOptions):
    """Options of latents or reconstructions of data.

    Attributes:
        run: Folder of the run.
        split: The split of the data, or "all", in the order in which they are stored.
        num: Number of observations; all by default.
        output: File to write to; by default one in ``RUN/results``.

    Raises:
        SpecError: The file is there already, or its format is not known or cannot be written.
    """

    run: Path
    split: Split = "test"
    num: int | None = None
    output: Path | None = None

    def __post_init__(self) -> None:
        require_new(self.output)


@dataclass(frozen=True, kw_only=True)
class EncodeOptions(ResultsOptions):
    """Options of latents of data.

    Attributes:
        refine_steps: Gradient steps on the ELBO of each observation.
        resample: Correction of the guide's draws, "importance" or "mcmc".

    Raises:
        SpecError: As for :class:`ResultsOptions`.
    """

    refine_steps: int = 0
    resample: Resample | None = None


@dataclass(frozen=True, kw_only=True)
class SampleOptions:
    """Options of draws from p(x).

    Attributes:
        run: Folder of the run.
        num: Number of draws.
        seed: Seed of the draws.
        output: File to write to; by default ``RUN/results/samples.npy``.
        device: "auto", "cpu", "cuda", or one of several GPUs, such as "cuda:1".

    Raises:
        SpecError: The file is there already, or its format is not known or cannot be written.
    """

    run: Path
    num: int
    seed: int = 0
    output: Path | None = None
    device: str = "auto"

    def __post_init__(self) -> None:
        require_new(self.output)


@dataclass(frozen=True, kw_only=True)
class SweepOptions:
    """Options of a sweep.

    Attributes:
        study: The study file.
        output: Folder to write to, or of the sweep to take part in; by default ``runs/`` and the
            name of the study file.
        data_root: Folder of named data sets.
        device: "auto", "cpu", "cuda", or one of several GPUs, such as "cuda:1".
        compile: Whether the programs are compiled.
    """

    study: Path
    output: Path | None = None
    data_root: Path | None = None
    device: str = "auto"
    compile: Compile | None = None


_USES = {
    "against": ("outliers",),
    "refine_steps": ("outliers",),
    "betas": ("ablation", "sweep"),
    "rare": ("debias",),
    "keep": ("debias",),
    "epochs": TRAINING,
}


def _require_different(runs: Sequence[Path]) -> None:
    if len(runs) < 2:
        raise SpecError("a comparison needs at least two runs: name another")
    seen: dict[Path, Path] = {}
    for folder in runs:
        first = seen.setdefault(folder.resolve(), folder)
        if first is not folder:
            raise SpecError(f"{first} and {folder} are the same run: name another")
