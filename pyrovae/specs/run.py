"""Request for a run: specifications, data and folders. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyrovae.errors import CheckpointError, SpecError
from pyrovae.specs import InferenceSpec, ModelSpec
from pyrovae.specs.computation import Compile, Computation, Precision
from pyrovae.specs.files import find, read


@dataclass(frozen=True)
class RunSpec:
    """A run, before anything of it is built.

    Attributes:
        model: The model's specification, or the Python file it is written in.
        model_name: Name of the model.
        inference: The inference's specification.
        inference_name: Name of the inference.
        data: Name or path of the data.
        data_root: Folder of named data sets.
        output: Folder to write to, None for a new one under ``runs/``.
        resume: Folder of the run to go on with.
        device: "auto", "cpu" or "cuda".
        computation: Options of compilation and precision.
    """

    model: ModelSpec | Path
    model_name: str
    inference: InferenceSpec
    inference_name: str
    data: str
    data_root: Path
    output: Path | None
    resume: Path | None
    device: str
    computation: Computation = field(default_factory=Computation)

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
        device: str = "auto",
        compile: Compile | None = None,
        precision: Precision | None = None,
    ) -> RunSpec:
        """Read and validate the specifications; None means the resumed run's value or the default.

        Raises:
            SpecError: A specification cannot be read or is not valid, or the output folder is
                not empty.
            CheckpointError: The folder to resume from is not a run's.
        """
        require_empty(output)
        run = {} if resume is None else _own_files(resume)
        model_file = find(model or run.get("model_file", "vae"), "models")
        inference_file = find(inference or run.get("inference_file", "svi"), "inference")
        keys = {
            section: {key.partition(".")[2]: value for key, value in (overrides or {}).items()
                      if key.partition(".")[0] == section}
            for section in ("model", "inference")
        }  # fmt: skip
        return cls(
            model=_model(model_file, keys["model"]),
            model_name=run.get("model", model_file.stem),
            inference=read(inference_file, InferenceSpec, keys["inference"]),
            inference_name=run.get("inference", inference_file.stem),
            data=data or run.get("data", {}).get("source", "digits"),
            data_root=data_root or Path(run.get("data", {}).get("root", "data")),
            output=output,
            resume=resume,
            device=device,
            computation=_computation(run, compile, precision),
        )


def require_empty(output: Path | None) -> None:
    """Refuse to write where something is already.

    Raises:
        SpecError: The folder is none, or is not empty.
    """
    if output is None or not output.exists() or _empty(output):
        return
    raise SpecError(f"--output {output}: not an empty folder; name another")


def _empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())


def _computation(
    run: dict[str, Any], compile: Compile | None, precision: Precision | None
) -> Computation:
    """Return the computation the run began with, updated by what is given now."""
    begun = run.get("computation", {})
    return Computation(
        compile or begun.get("compile", "auto"), precision or begun.get("precision", "float32")
    )


def _model(file: Path, overrides: dict[str, Any]) -> ModelSpec | Path:
    if file.suffix == ".toml":
        return read(file, ModelSpec, overrides)
    if overrides:
        key = next(iter(overrides))
        raise SpecError(f"--set model.{key}: {file} is a program, and has no keys to set")
    return file


def read_run(folder: Path) -> dict[str, Any]:
    """Read ``run.json``.

    Raises:
        CheckpointError: The folder is not a run's, or the file is damaged.
    """
    path = folder / "run.json"
    if not path.is_file():
        raise CheckpointError(f"{folder} is not the folder of a run: it has no run.json")
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path} is damaged: {error}") from None
    if not isinstance(run, dict) or not isinstance(run.get("data", {}), dict):
        raise CheckpointError(f"{path} is damaged: it does not describe a run")
    return run


def _own_files(folder: Path) -> dict[str, Any]:
    """Return ``run.json`` with the files of the run's own specifications."""
    program = folder / "model.py"
    model_file = program if program.is_file() else folder / "model.toml"
    return {
        **read_run(folder),
        "model_file": str(model_file),
        "inference_file": str(folder / "inference.toml"),
    }
