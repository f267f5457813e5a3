"""A run that is interrupted, in its steps or elsewhere, or ends by an error."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from pyrovae.errors import DivergenceError, LostProcessError
from pyrovae.report import console
from pyrovae.runs.facts import CHECKPOINT
from pyrovae.runs.writing import RunWriter
from pyrovae.training.loop import Training


@contextmanager
def leaving_a_run(folder: Path, *, begun: bool) -> Iterator[None]:
    """Interrupted outside of the steps, leave a run that can be resumed, or nothing.

    Raises:
        KeyboardInterrupt: Says how to go on.
    """
    try:
        yield
    except KeyboardInterrupt as stop:
        if (folder / CHECKPOINT).is_file():
            raise type(stop)(console.interrupted(str(folder))) from None
        if not begun:  # else it was not ours
            shutil.rmtree(folder, ignore_errors=True)
        raise


@contextmanager
def true_status(run: RunWriter) -> Iterator[None]:
    """Note in ``run.json`` that a training has ended by an error or a signal."""
    try:
        yield
    except DivergenceError:
        raise  # noted already
    except BaseException as error:
        with suppress(OSError):  # as on a full disk
            stopped = isinstance(error, KeyboardInterrupt | LostProcessError)
            run.update(status="interrupted" if stopped else "failed")
        raise


@contextmanager
def interruptible(training: Training) -> Iterator[list[int]]:
    """Let SIGINT and SIGTERM finish the current step; the list holds received signals.

    The second raises KeyboardInterrupt, as in the middle of compiling; a third kills the process.
    """
    received: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        if received:
            signal.signal(number, signal.SIG_DFL)
            raise KeyboardInterrupt
        received.append(number)
        training.interrupted = True

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
