"""A run that goes on to another number of epochs than it was begun with."""

from __future__ import annotations

from pathlib import Path

from pyrovae.errors import CheckpointError
from pyrovae.objectives.schedules import Budget
from pyrovae.runs.facts import INFERENCE, WEIGHTS, RunFacts
from pyrovae.runs.writing import RunWriter, Saved
from pyrovae.specs import InferenceSpec
from pyrovae.training.early_stopping import out_of_patience
from pyrovae.training.loop import Training


def require_epochs_left(folder: Path, training: Training, saved: Saved) -> None:
    """Refuse a budget that is spent already, and one that early stopping leaves no use.

    Args:
        folder: Folder of the run.
        training: The training that is asked for.
        saved: What the run has saved.

    Raises:
        CheckpointError: Says how far the run has come.
    """
    epochs, each = training.budget
    try:
        step, best = int(saved.state["step"]), int(saved.state["best"]["epoch"])
    except (KeyError, TypeError, ValueError):
        return  # a state of something else, which is refused when it is restored
    done = step // each
    if training.budget.steps < step <= saved.inference.epochs * each:
        raise CheckpointError(
            f"--resume {folder}: inference.epochs = {epochs}, and {done} are done already: "
            "give more"
        )
    if epochs > saved.inference.epochs and out_of_patience(done, best, training.spec):
        raise CheckpointError(
            f"--resume {folder}: early stopping has ended the run after epoch {done}, "
            f"{done - best} after its best: set inference.early_stopping.patience above "
            f"{done - best} as well"
        )


def go_further(run: RunWriter, training: Training, begun: InferenceSpec, command: str) -> str:
    """Put the new budget into the run's files, if it is another, and drop what is of its old end.

    Args:
        run: The run that is resumed.
        training: The training, its state restored.
        begun: The inference so far.
        command: The command line.

    Returns:
        A note where schedules depend on the budget; else empty.
    """
    if begun == training.spec:
        return ""
    run.write({INFERENCE: training.spec.to_toml().encode()})
    first = RunFacts.read(run.folder).command
    run.update(command=f"{first}; {command}")
    if training.finished:
        return ""
    run.remove(WEIGHTS)
    run.update(test=None, weights=None, figures=[])
    if not _schedule_differs(training, begun.epochs):
        return ""
    return (
        f"note        schedules are now those of {training.spec.epochs} epochs: another run than "
        f"one of {training.spec.epochs} epochs from the start"
    )


def _schedule_differs(training: Training, epochs: int) -> bool:
    """True if a step that is done would have had other settings under the new budget."""
    step, new = training.take_step, training.budget
    old = Budget(epochs, new.steps_per_epoch)
    return any(
        step.settings_at(done, old) != step.settings_at(done, new)
        for done in range(new.steps_per_epoch - 1, training.step, new.steps_per_epoch)
    )
