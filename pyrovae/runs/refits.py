"""Refits of a run: the same model on the same data under another inference."""

from __future__ import annotations

from pathlib import Path

from pyrovae.data import Splits
from pyrovae.errors import CheckpointError, SpecError
from pyrovae.programs.autoencoder import Autoencoder
from pyrovae.report.display import Display
from pyrovae.runs.facts import CHECKPOINT, INFERENCE, WEIGHTS, RunFacts, is_run
from pyrovae.runs.loading import Run, open_autoencoder, program_of
from pyrovae.runs.request import RunSpec, recorded_split
from pyrovae.runs.train import train
from pyrovae.specs import InferenceSpec


def refit(
    run: Run,
    inference: InferenceSpec,
    folder: Path,
    display: Display,
    data: Splits | None = None,
) -> Autoencoder:
    """Fit the run's model under another inference, or load an earlier such fit.

    Under its own inference, the run is its own refit. Any other refit is an ordinary run in a
    folder of its own, which is resumed if it was interrupted.

    Args:
        run: Run with the model and, by default, the data.
        inference: Resolved specification of the inference.
        folder: Folder of the refit.
        display: Display of the training.
        data: Other data, as the model sees them.

    Raises:
        SpecError: The model is a program, and the inference has another guide.
        CheckpointError: The folder holds another run.
        KeyboardInterrupt: The fit was interrupted; finished steps are kept.
    """
    require_same_guide(run, inference)
    declaration = run.autoencoder.declaration
    if data is None and inference == run.inference and run.facts.status == "finished":
        return run.autoencoder
    data = run.data if data is None else data
    known = RunFacts.read(folder) if is_run(folder) else None
    if known is not None:
        _require_same(folder, known, inference, data)
    if known is not None and known.status == "finished":
        display.say(f"{folder} is there already")
        return open_autoencoder(folder, folder / WEIGHTS, data, inference).to(run.device)
    request = RunSpec(
        model=program_of(run.folder) if declaration is None else declaration.model,
        model_name=run.facts.model,
        inference=inference,
        inference_name=folder.name,
        data=run.source,
        data_root=Path(run.facts.data.root),
        output=folder,
        resume=folder if (folder / CHECKPOINT).is_file() else None,
        device=str(run.device),
        split=recorded_split(run.folder, run.facts),
    )
    display.say(f"training {folder}")
    command = f"python -m pyrovae.train --resume {folder}"
    if train(request, command, display, data).signal is not None:
        raise KeyboardInterrupt
    return open_autoencoder(folder, folder / WEIGHTS, data, inference).to(run.device)


def require_same_guide(run: Run, inference: InferenceSpec) -> None:
    """Refuse an inference with another guide than that of a program.

    Raises:
        SpecError: The model is a program, and the inference has another guide.
    """
    if run.autoencoder.declaration is None and inference.guide != run.inference.guide:
        raise SpecError(
            f"{run.folder} was made from a program, which has a guide of its own, and the plain "
            "autoencoder has another: look at sweep, or train a program without a KL"
        )


def _require_same(folder: Path, known: RunFacts, inference: InferenceSpec, data: Splits) -> None:
    """Refuse a folder that holds another run than the refit wanted.

    Raises:
        CheckpointError: The folder holds another run.
    """
    file = folder / INFERENCE
    same = file.is_file() and file.read_text(encoding="utf-8") == inference.to_toml()
    if not same or known.data.fingerprint != data.fingerprint():
        raise CheckpointError(
            f"{folder} has a run with another budget, specification or data: remove it, or name "
            "another folder with --output"
        )
