"""By which route the steps of a training are taken: as programs, or as graphs."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from typing import NamedTuple

from pyrovae.capture import Captured, CaptureError
from pyrovae.computation import Computation
from pyrovae.errors import reason
from pyrovae.replay import Replay
from pyrovae.step import Step

# Steps from which on capturing takes less time than it saves: some ten seconds on a CPU, where a
# step gains a millisecond or two, and on a GPU several times as much in a step.
PAYS = {"cpu": 5000, "cuda": 1000}


class Execution(NamedTuple):
    """The route.

    Attributes:
        summary: What it is, and why no other; a line.
        replay: Several steps at once, on a GPU.
    """

    summary: str
    replay: Replay | None = None


def prepare(step: Step, computation: Computation, sizes: Mapping[int, int]) -> Execution:
    """Capture what is worth it.

    It depends on the whole training and not on how much of it is left, so that a run that is
    resumed goes the way that it began.

    Args:
        step: Gets its captured forms.
        computation: What is wished for.
        sizes: How many steps the whole training takes with batches of each size, the most common
            size first.
    """
    if computation.compile == "off":
        return Execution("as programs (--compile off)")
    size, steps = next(iter(sizes.items()))
    on_a_gpu = step.device.type == "cuda"
    pays = PAYS["cuda" if on_a_gpu else "cpu"]
    if computation.compile == "auto" and steps < pays:
        return Execution(f"as programs: {steps} steps do not repay a compilation")
    if not on_a_gpu and computation.compile == "auto" and not _has_compiler():
        return Execution("as programs: there is no C++ compiler")
    begun = time.monotonic()
    try:
        captured = step.capture(size, compiled=True)
        for other, count in [*sizes.items()][1:]:
            step.capture(other, compiled=count >= pays)
    except CaptureError as error:
        step.captured.clear()
        return Execution(f"as programs: {error}")
    summary = _summary(captured, time.monotonic() - begun)
    if not on_a_gpu or not step.is_resident:
        return Execution(summary)
    try:
        replay = Replay(step, size)
    except RuntimeError as error:  # torch's word for whatever CUDA does not let be recorded
        return Execution(f"{summary}; not as a CUDA graph: {reason(error)}")
    return Execution(f"{summary}; {replay.count} steps in one CUDA graph", replay)


def _has_compiler() -> bool:
    named = os.environ.get("CXX")
    return any(shutil.which(name) for name in ([named] if named else ["g++", "clang++", "c++"]))


def _summary(captured: Captured, seconds: float) -> str:
    graph = f"captured as one graph of {captured.operations} operations"
    if captured.obstacle is not None:
        return f"{graph}; {captured.obstacle}"
    return f"{graph}, compiled in {seconds:.0f} s"
