"""Execution of a training: its threads, and steps as programs or as captured graphs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import pyro

from pyrovae.compute.capture import Captured, CaptureError
from pyrovae.compute.precision import tf32
from pyrovae.compute.threads import enough_threads
from pyrovae.errors import reason
from pyrovae.specs import InferenceSpec
from pyrovae.specs.computation import Computation
from pyrovae.training.cuda_graph import Replay
from pyrovae.training.step import Step

# Number of steps from which it saves more time than it takes. Capturing takes a second or two and
# saves a millisecond per step. Compiling takes some ten seconds and saves another millisecond on a
# CPU; on a GPU, where a CUDA graph saves the launches already, tenths of that.
CAPTURING_PAYS = 2000
COMPILING_PAYS, COMPILING_PAYS_ON_A_GPU = 5000, 200_000


class Execution(NamedTuple):
    """The chosen execution of the steps.

    Attributes:
        summary: Description and reason, a line.
        replay: Several steps at once, on a GPU.
    """

    summary: str
    replay: Replay | None = None


@contextmanager
def computing(step: Step, spec: InferenceSpec, computation: Computation) -> Iterator[None]:
    """Pyro without its checks, and the arithmetic and threads of a training.

    Args:
        step: The step.
        spec: The inference, whose batches say how many rows a layer sees.
        computation: The requested computation.
    """
    rows = spec.batch_size * getattr(spec.objective, "particles", 1)
    with (
        pyro.validation_enabled(False),
        tf32(computation.precision),
        enough_threads(step.parameters, rows),
    ):
        yield


def prepare(step: Step, computation: Computation, sizes: Mapping[int, int]) -> Execution:
    """Capture the steps where it pays.

    The choice depends on the whole training, not on how much of it is left, so that a resumed run
    continues as it began.

    Args:
        step: Step to capture, in place.
        computation: The requested computation.
        sizes: Number of steps of the whole training with batches of each size, the most common
            size first.
    """
    if computation.compile == "off":
        return Execution("as programs (--compile off)")
    (size, steps), *others = sizes.items()
    wished = computation.compile == "on"
    if steps < CAPTURING_PAYS and not wished:
        total = sum(sizes.values())
        return Execution(f"as programs: {total} steps do not repay being captured")
    on_a_gpu = step.settings.is_cuda
    pays = COMPILING_PAYS_ON_A_GPU if on_a_gpu else COMPILING_PAYS
    begun = time.monotonic()
    try:
        captured = step.capture(size, compiled=wished or steps >= pays)
        for other, count in others:
            step.capture(other, compiled=count >= pays)
    except CaptureError as error:
        step.captured.clear()  # all batches go the same way
        return Execution(f"as programs: {error}")
    summary = _summary(captured, time.monotonic() - begun)
    if not (on_a_gpu and step.is_resident and step.optimiser.recordable):
        return Execution(summary)
    if not step.processes.alone:
        return Execution(f"{summary}; not as a CUDA graph: several processes sum their gradients")
    try:
        replay = Replay(step, size)
    except RuntimeError as error:  # raised for whatever CUDA cannot record
        return Execution(f"{summary}; not as a CUDA graph: {reason(error)}")
    return Execution(f"{summary}; {replay.count} steps in one CUDA graph", replay)


def _summary(captured: Captured, seconds: float) -> str:
    how = "compiled" if captured.obstacle is None else captured.obstacle
    return f"captured as {captured.operations} operations, {how} ({seconds:.0f} s)"
