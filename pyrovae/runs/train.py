"""Training run from beginning to end: build, announce, fit, evaluate, draw."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from pyrovae.compute.devices import choose_device, own_device
from pyrovae.compute.distributed import ALONE, Processes
from pyrovae.compute.randomness import seeded
from pyrovae.data import Splits, load_data
from pyrovae.data.named import is_no_path
from pyrovae.errors import CheckpointError, DivergenceError, SpecError, reason, shown
from pyrovae.evaluation.batches import observations
from pyrovae.evaluation.bound import evaluate
from pyrovae.evaluation.latent_means import active_dimensions, codes
from pyrovae.evaluation.metrics import BoundSummary
from pyrovae.evaluation.reconstruction import why_no_means
from pyrovae.evaluation.support_check import invalid_parameter
from pyrovae.programs.autoencoder import Autoencoder
from pyrovae.programs.building import build
from pyrovae.programs.starting import start_from
from pyrovae.report import console
from pyrovae.report.display import Display
from pyrovae.runs.callbacks import asked_for, show_all, trackings
from pyrovae.runs.facts import FIGURES, WEIGHTS, DataFacts, RunFacts, only_begun
from pyrovae.runs.further_epochs import go_further, require_epochs_left
from pyrovae.runs.interruption import interruptible, leaving_a_run, true_status
from pyrovae.runs.loading import load_model
from pyrovae.runs.metrics_file import read_metrics
from pyrovae.runs.processes import (
    require_enough,
    require_same,
    require_shared,
    saying_how_to_go_on,
)
from pyrovae.runs.request import RunSpec
from pyrovae.runs.weights import file_content
from pyrovae.runs.writing import (
    Identity,
    RunWriter,
    Saved,
    clear,
    declarations,
    kept_weights,
    locked,
    new_folder,
    read_checkpoint,
    versions,
)
from pyrovae.training.loop import Callback, Training
from pyrovae.training.records import Record
from pyrovae.training.tracking import Tracking


@dataclass(frozen=True)
class TrainedRun:
    """Result of a training.

    Attributes:
        folder: Folder of the run.
        training: The training as it ended.
        signal: The signal that interrupted it, if any.
        test: Bound on the test data; None if interrupted.
    """

    folder: Path
    training: Training
    signal: int | None = None
    test: BoundSummary | None = None


def dry_run(request: RunSpec, display: Display, processes: Processes = ALONE) -> Training:
    """Validate, build, and show the resolved specifications, counts and shapes."""
    asked_for(request)
    training = processes.together(lambda: prepare(request, processes=processes))
    for name, text in declarations(training).items():
        display.say(f"# {name}\n{text}")
    display.say(console.plan(training, writes_to="nothing: this is a dry run"))
    display.say(f"\n{console.shapes(training.autoencoder)}")
    return training


def train(
    request: RunSpec,
    command: str,
    display: Display,
    data: Splits | None = None,
    processes: Processes = ALONE,
    watching: Sequence[Callback] = (),
) -> TrainedRun:
    """Train, or resume training, and report.

    Args:
        request: The request.
        command: The command line.
        display: Display of plan, progress and result.
        data: The data of the request, if they are loaded already.
        processes: The processes that train the run together. The first alone writes, shows and
            has callbacks.
        watching: Callbacks beside those of the request.

    Raises:
        PyrovaeError: An input that cannot work, or a divergence.
    """
    callbacks = [*processes.together(lambda: asked_for(request)), *watching]
    training = processes.together(lambda: prepare(request, data, processes))
    if not processes.alone:
        processes.together(lambda: require_same(training, processes))
    if not processes.is_first:
        return _follow(training)
    folder = request.resume or new_folder(
        request.output, request.model_name, request.inference_name
    )
    with locked(folder), leaving_a_run(folder, begun=request.resume is not None):
        return _train_into(folder, request, training, command, display, callbacks)


def _follow(training: Training) -> TrainedRun:
    """Train beside the first process, which does everything else."""
    processes = training.processes
    folder = processes.first(Path())
    processes.together(lambda: require_shared(folder))
    with (
        saying_how_to_go_on(folder),
        seeded(training.spec.seed, training.device),
        interruptible(training) as received,
    ):
        state: dict[str, Any] = processes.first({})
        if state:
            restore(training, state, folder)
        training.run()
    return TrainedRun(folder, training, signal=received[0] if received else None)


def _train_into(
    folder: Path,
    request: RunSpec,
    training: Training,
    command: str,
    display: Display,
    callbacks: Sequence[Callback],
) -> TrainedRun:
    processes = training.processes
    if not processes.alone:
        processes.first(folder)
        processes.together(lambda: require_shared(folder))
    run, saved = begin_or_resume(folder, request, training, command)
    with saying_how_to_go_on(folder), true_status(run):
        trackers = trackings(request, folder)
        others = [*callbacks, *trackers]
        received = _train(run, saved, training, command, display, others)
        if training.interrupted:
            run.update(status="interrupted")
            display.say(console.how_to_resume(training, str(run.folder)))
            return TrainedRun(run.folder, training, signal=received[0] if received else None)
        return finish(run, training, display, trackers)


def _train(
    run: RunWriter,
    saved: Saved | None,
    training: Training,
    command: str,
    display: Display,
    callbacks: Sequence[Callback],
) -> list[int]:
    """Train, or go on with it; the signals that were received meanwhile."""
    display.say(console.plan(training, writes_to=str(run.folder)))
    with seeded(training.spec.seed, training.device), interruptible(training) as received:
        training.processes.first({} if saved is None else saved.state)
        if saved is not None:
            restore(training, saved.state, run.folder)
            if note := go_further(run, training, saved.inference, command):
                display.say(note)
        fit(training, run, [*callbacks, *display.callbacks()])
    return received


def restore(training: Training, state: dict[str, Any], folder: Path) -> None:
    """Restore the training from a run's checkpoint.

    Raises:
        CheckpointError: The state does not fit the training.
    """
    try:
        require_place(state, training)
        training.load_state_dict(state)
    except Exception as error:  # what is of another type may raise anything
        raise CheckpointError(
            f"{folder}: the checkpoint was not written by this version of pyrovae: {reason(error)}"
        ) from None


def require_place(state: dict[str, Any], training: Training) -> None:
    """Refuse a state that is at no step of the training.

    Raises:
        ValueError: It is such a state.
    """
    step, seconds = state["step"], state["seconds"]
    if type(step) is not int or not 0 <= step <= training.budget.steps:
        raise ValueError(f"step {shown(step)} is none of its {training.budget.steps}")
    if not isinstance(seconds, float | int) or not 0 <= seconds < math.inf:
        raise ValueError(f"it took {shown(seconds)} seconds")


def begin_or_resume(
    folder: Path, request: RunSpec, training: Training, command: str
) -> tuple[RunWriter, Saved | None]:
    """A new run in the folder, or the run to resume and what it has saved.

    Raises:
        PyrovaeError: The run to resume is another one, or the folder has a run by now.
    """
    identity = Identity.of(training)
    if request.resume is not None:
        saved = read_checkpoint(folder, identity)
        require_epochs_left(folder, training, saved)
        run = RunWriter(folder, identity)
        run.update(
            status="running",
            tracked=request.tracked,
            callbacks=request.callbacks,
            processes=training.processes.size,
        )
        return run, saved
    if not only_begun(folder):
        raise CheckpointError(f"--output {folder}: another process has made a run in it by now")
    clear(folder)
    run = RunWriter(folder, identity)
    begin(run, request, training, command)
    return run, None


def fit(training: Training, run: RunWriter, progress: Sequence[Callback]) -> None:
    """Train, keeping the run's folder and the display up to date.

    Raises:
        DivergenceError: Names step, site and parameter, and the folder of the last good state.
    """
    try:
        training.run([run, *progress])
    except DivergenceError as error:
        for callback in progress:
            callback.on_end(training)
        run.update(status="diverged")
        raise DivergenceError(
            f"{error}. The last good state is in {run.folder}; a lower learning rate or "
            "inference.clip_norm may help"
        ) from None


def prepare(
    request: RunSpec, data: Splits | None = None, processes: Processes = ALONE
) -> Training:
    """Load the data, unless given, and build autoencoder and training.

    Raises:
        PyrovaeError: Data, parts or device that are not available, or do not fit.
    """
    require_enough(request.inference, processes)
    device = choose_device(own_device(request.device, processes))
    if data is None:
        data = load_data(request.data, split=request.split, root=request.data_root)
    autoencoder = build(request.model, request.inference, data)
    if request.start is not None and request.resume is None:
        autoencoder.start = _start(autoencoder, request.start)
    training = Training(
        autoencoder.to(device),
        data,
        request.inference,
        request.computation,
        processes=processes,
    )
    # Schedules of a user's own may fail: now, and not when there is a folder.
    training.take_step.settings_at(0, training.budget)
    return training


def _start(autoencoder: Autoencoder, folder: Path) -> str:
    """Start at a run's weights; say which are others.

    Raises:
        SpecError: No part of the run has the shape of one of these.
    """
    other, _ = load_model(folder, device="cpu")
    try:
        left = start_from(autoencoder, other)
    except SpecError as error:
        raise SpecError(f"--start {folder}: {error}") from None
    parts = dict.fromkeys(".".join(name.split(".")[:3]) for name in left)
    return f"{folder}" + (f"; new are {', '.join(parts)}" if parts else "")


def begin(run: RunWriter, request: RunSpec, training: Training, command: str) -> None:
    """Write the specifications and facts of the run before it begins."""
    data = training.splits
    path = Path(request.data).expanduser().absolute()
    source = request.data if is_no_path(request.data) else path
    run.describe(
        RunFacts(
            status="running",
            model=request.model_name,
            inference=request.inference_name,
            command=command,
            seed=training.spec.seed,
            device=str(training.device),
            computation=training.computation,
            versions=versions(),
            objective=training.objective.title,
            started=None if request.start is None else str(request.start.absolute()),
            refined=request.refined,
            tracked=request.tracked,
            callbacks=request.callbacks,
            processes=training.processes.size,
            kl=console.kl_kinds(training),
            data=DataFacts(
                source=str(source),
                root=str(request.data_root.expanduser().absolute()),
                fingerprint=run.identity.fingerprint,
                shape=tuple(data.train.shape),
                columns=data.train.columns,
                transforms=dict(data.train.transforms),
                split=None if request.split is None else request.split.recorded(),
                levels=data.train.levels,
                sizes={split: len(part) for split, part in data._asdict().items()},
            ),
        )
    )
    run.write({name: text.encode() for name, text in run.identity.declarations.items()})


def finish(
    run: RunWriter, training: Training, display: Display, trackers: Sequence[Tracking] = ()
) -> TrainedRun:
    """Evaluate on the test data, save the weights, draw the figures, and report."""
    from pyrovae.report.figures import draw_figures

    autoencoder, test = training.autoencoder, training.splits.test
    training.conclude()
    run.write({WEIGHTS: file_content(autoencoder)})
    _say_agreement(run, training, display)
    summary = evaluate(autoencoder, test, training.objective)
    means = codes(autoencoder, test)
    active = active_dimensions(means)
    where = {"epoch": training.epoch, "step": training.step, "beta": 1.0}
    bound = Record.of(summary, split="test", seconds=training.seconds, **where)
    run.record([bound])
    for tracker in trackers:
        tracker.log([bound])
    show = partial(show_all, trackers, training.epoch)
    metrics, kept = read_metrics(run.folder), training.kept.epoch
    figures = draw_figures(run.folder / FIGURES, autoencoder, test, metrics, kept, show)
    if autoencoder.declaration is None and (found := invalid_parameter(autoencoder, test)):
        display.say(f"warning     the programs give the {found} a value that it cannot have")
    reason = why_no_means(autoencoder, observations(test, torch.arange(1)).to(training.device))
    run.update(
        status="finished",
        test={**asdict(summary), "active_dimensions": active},
        weights=kept_weights(training),
        warnings=[asdict(warning) for warning in training.warnings],
        figures=[figure.name for figure in figures],
    )
    display.say(console.result(training, summary, active, means.shape[1], str(run.folder)))
    if reason:
        display.say(f"note        no reconstructions and samples: {reason}")
    return TrainedRun(run.folder, training, test=summary)


def _say_agreement(run: RunWriter, training: Training, display: Display) -> None:
    """Judge the guide of a refinement, and write and show the result."""
    refined = RunFacts.read(run.folder).refined
    if refined is None:
        return
    from pyrovae.diagnosis.agreement import agreement, likeness
    from pyrovae.runs.agreements import facts_of

    like = likeness(training.splits.train, training.device)
    after = agreement(training.autoencoder, like)
    run.update(refined=refined.model_copy(update={"after": facts_of(after)}))
    display.say(console.agreement("after", after))
