"""Refinement of a run: a better guide for its model, which stays as it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from pyrovae.compute.devices import own_device
from pyrovae.compute.distributed import ALONE, Processes
from pyrovae.diagnosis.agreement import Agreement, agreement, is_point, likeness
from pyrovae.report import console
from pyrovae.report.display import Display
from pyrovae.runs.agreements import facts_of
from pyrovae.runs.facts import RefinedFacts
from pyrovae.runs.loading import Run, load_run, program_of
from pyrovae.runs.options import RefineOptions
from pyrovae.runs.processes import require_same, require_same_work
from pyrovae.runs.request import RunSpec, recorded_split
from pyrovae.runs.train import TrainedRun, begin, prepare, train
from pyrovae.runs.writing import Identity, RunWriter
from pyrovae.specs import InferenceSpec, ModelSpec
from pyrovae.specs.computation import Computation
from pyrovae.specs.files import find
from pyrovae.specs.program import ProgramSpec
from pyrovae.specs.settings import set_inference
from pyrovae.training.refinement import epochs_within, frozen, proposed, refinable, to_measure

DEFAULT = "wake_sleep"


def refine_run(
    options: RefineOptions, command: str, display: Display, processes: Processes = ALONE
) -> TrainedRun:
    """Refine the guide of a run, and write a run of the same model.

    Args:
        options: The request.
        command: The command line.
        display: Display of progress and result.
        processes: The processes that train the guide together.

    Raises:
        PyrovaeError: A run that cannot be opened or refined, or an inference that cannot work.
    """
    run, request = processes.together(lambda: _opened(options, processes))
    processes.together(lambda: require_same_work(options, [run], processes))
    for note in run.notes:
        display.say(f"note        {note}")
    before = processes.together(lambda: _before(run))
    if before is not None:
        display.say(console.agreement("before", before))
    if "inference.epochs" not in options.settings:
        epochs = _epochs(run, request, 60 * options.minutes, command, processes)
        inference = request.inference.model_copy(update={"epochs": epochs})
        request = replace(request, inference=inference)
    refined = RefinedFacts(
        run=str(options.run.absolute()),
        until=options.until,
        before=None if before is None else facts_of(before),
    )
    return train(replace(request, refined=refined), command, display, run.data, processes)


def _opened(options: RefineOptions, processes: Processes) -> tuple[Run, RunSpec]:
    """The run, and the training that refines it."""
    frozen(set_inference(_file(options), options.settings), None)  # named before data are loaded
    device = own_device(options.device, processes)
    run = load_run(options.run, data_root=options.data_root, device=device)
    return run, _request(run, _inference(run, options), options)


def _epochs(run: Run, request: RunSpec, seconds: float, command: str, processes: Processes) -> int:
    """Number of epochs that fit into a time, the writing of a run included."""
    inference = to_measure(request.inference, len(run.data.train))
    measured = replace(request, inference=inference)
    training = processes.together(lambda: prepare(measured, run.data, processes))
    if not processes.alone:
        processes.together(lambda: require_same(training, processes))
    if not processes.is_first:
        return processes.first(epochs_within(training, seconds))
    with TemporaryDirectory() as folder:
        writer = RunWriter(Path(folder), Identity.of(training))
        begin(writer, measured, training, command)
        return processes.first(epochs_within(training, seconds, [writer]))


def _before(run: Run) -> Agreement | None:
    """Agreement of the run's guide with the posterior; None if it is a point."""
    like = likeness(run.data.train, run.device)
    return None if is_point(run.autoencoder, like) else agreement(run.autoencoder, like)


def _request(run: Run, inference: InferenceSpec, options: RefineOptions) -> RunSpec:
    return RunSpec(
        model=_model(run),
        model_name=run.facts.model,
        inference=inference,
        inference_name=Path(options.inference or DEFAULT).stem,
        data=run.source,
        data_root=Path(run.facts.data.root) if options.data_root is None else options.data_root,
        output=options.output,
        resume=None,
        device=options.device,
        computation=Computation(options.compile or run.facts.computation.compile),
        start=options.run,
        split=recorded_split(run.folder, run.facts),
    )


def _inference(run: Run, options: RefineOptions) -> InferenceSpec:
    """The inference that is asked for, with a frozen model."""
    declaration = run.autoencoder.declaration
    wanted = proposed(declaration) if options.inference is None else _file(options)
    return frozen(set_inference(wanted, options.settings), declaration)


def _file(options: RefineOptions) -> Path:
    return find(options.inference or DEFAULT, "inference")


def _model(run: Run) -> ModelSpec | ProgramSpec:
    declaration = run.autoencoder.declaration
    return program_of(run.folder) if declaration is None else refinable(declaration)
