"""Refinement of a guide: its model is frozen, and the budget is a time."""

from __future__ import annotations

import time
from collections.abc import Sequence

from pyrovae.compute.randomness import seeded
from pyrovae.errors import SpecError
from pyrovae.programs.autoencoder import Declaration
from pyrovae.specs import InferenceSpec, ModelSpec
from pyrovae.specs.files import find, read
from pyrovae.specs.guides import (
    DeltaGuideSpec,
    DiagonalGuideSpec,
    FullRankGuideSpec,
    GuideSpec,
    IAFGuideSpec,
    MixtureGuideSpec,
    SplineGuideSpec,
    VonMisesFisherGuideSpec,
)
from pyrovae.specs.networks import MirrorSpec
from pyrovae.specs.priors import MixturePriorSpec, VampPriorSpec
from pyrovae.specs.simulated import SimulatedSpec
from pyrovae.training.execution import CAPTURING_PAYS
from pyrovae.training.loop import Callback, Training
from pyrovae.training.records import Record

# Share of the time in which is measured how many epochs fit into the rest.
TO_MEASURE = 0.1


def proposed(declaration: Declaration | None) -> InferenceSpec:
    """The inference of a refinement, unless another is wanted; its guide contains the declared."""
    found = read(find("wake_sleep", "inference"), InferenceSpec)
    if declaration is None:
        return found
    return found.model_copy(update={"guide": guide_for(declaration)})


def frozen(inference: InferenceSpec, declaration: Declaration | None) -> InferenceSpec:
    """The inference with a frozen model, with draws from it, and with the declared encoder.

    Args:
        inference: As wanted; an encoder other than "mirror" stays.
        declaration: That of the autoencoder, if it has one.

    Raises:
        SpecError: The guide that is wanted is a point.
    """
    guide = inference.guide
    if isinstance(guide, DeltaGuideSpec):
        raise SpecError(
            "inference.guide.kind = 'delta' is a point, which is no posterior: choose "
            "'full_rank', 'spline' or 'iaf'"
        )
    if declaration is not None and isinstance(guide.encoder, MirrorSpec):
        encoder = declaration.inference.guide.encoder
        guide = guide.model_copy(update={"encoder": encoder})
    draws = inference.simulated or SimulatedSpec()
    return inference.model_copy(update={"guide": guide, "frozen": "model", "simulated": draws})


def refinable(declaration: Declaration) -> ModelSpec:
    """The model with a prior that does not change with the guide.

    A VampPrior is the mixture that it was with its own guide.

    Raises:
        SpecError: That mixture is not one of diagonal normals.
    """
    model = declaration.model
    if not isinstance(model.prior, VampPriorSpec):
        return model
    if not isinstance(declaration.inference.guide, DiagonalGuideSpec):
        raise SpecError(
            "the prior 'vamp' is made of the guide, and can be kept only where that is diagonal; "
            f"here inference.guide.kind = '{declaration.inference.guide.kind}'"
        )
    prior = MixturePriorSpec(components=model.prior.pseudo_inputs)
    return model.model_copy(update={"prior": prior})


def guide_for(declaration: Declaration) -> GuideSpec:
    """A guide that contains the declared one, with the same encoder.

    Flows, mixtures and distributions on the sphere go on as they are; others become full-rank.
    """
    guide = declaration.inference.guide
    richest = IAFGuideSpec | SplineGuideSpec | MixtureGuideSpec | VonMisesFisherGuideSpec
    return guide if isinstance(guide, richest) else FullRankGuideSpec(encoder=guide.encoder)


def to_measure(inference: InferenceSpec, data: int) -> InferenceSpec:
    """The inference with so many epochs that its steps are captured, and not compiled.

    Capturing takes seconds and compiling, which halves the time of a step, up to a minute.
    """
    steps_per_epoch = -(-data // inference.batch_size)
    return inference.model_copy(update={"epochs": -(-CAPTURING_PAYS // steps_per_epoch)})


def epochs_within(training: Training, seconds: float, callbacks: Sequence[Callback] = ()) -> int:
    """Number of epochs, at least one, that fit into a time, as measured in a part of it.

    Args:
        training: A training by :func:`to_measure`, which is not to be used any further.
        seconds: The time, that of the measurement included.
        callbacks: Hooks whose time counts, such as the writing of a run.
    """
    watch = _Stopwatch(TO_MEASURE * seconds)
    with seeded(training.spec.seed, training.device):
        training.run([*callbacks, watch])
    return max(1, int((1 - TO_MEASURE) * seconds / watch.seconds_per_epoch(training)))


class _Stopwatch(Callback):
    """Callback that interrupts a training after a time, that of its preparation not counted."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.first = 0.0
        self.ends: list[float] = []

    def on_step(self, training: Training) -> None:
        """Interrupt the training when the time is over."""
        now = time.monotonic()
        self.first = self.first or now
        training.interrupted = now - self.first > self.seconds

    def on_epoch_end(self, training: Training, records: Sequence[Record]) -> None:
        """Note the time."""
        self.ends.append(time.monotonic())

    def seconds_per_epoch(self, training: Training) -> float:
        """From epoch to epoch, or where the time is too short for two, from the steps taken."""
        if len(self.ends) > 1:
            return (self.ends[-1] - self.ends[0]) / (len(self.ends) - 1)
        steps = max(1, training.step - 1)
        return (time.monotonic() - self.first) * training.budget.steps_per_epoch / steps
