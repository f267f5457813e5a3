"""Callbacks that a request for a run names, and its trackers."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pyrovae.errors import PyrovaeError, SpecError, reason
from pyrovae.runs.request import RunSpec
from pyrovae.specs.own import named_class
from pyrovae.training.fit_warnings import FitWarning
from pyrovae.training.loop import Callback, Training
from pyrovae.training.records import Record
from pyrovae.training.tracking import Tracking

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def asked_for(request: RunSpec) -> list[Callback]:
    """The callbacks that are named, and the goal of a refinement.

    Raises:
        SpecError: There is no such class, or it is no callback, or cannot be made.
    """
    found: list[Callback] = [OwnCallback(kind) for kind in request.callbacks]
    refined = request.refined
    if refined is not None and refined.until is not None:
        from pyrovae.diagnosis.agreement import Until  # and SciPy, which training does without

        found.append(Until(refined.until))
    return found


def trackings(request: RunSpec, folder: Path) -> list[Tracking]:
    """The trackers that are named, each with its own folder in the run's."""
    title = folder.absolute().name
    return [Tracking(name, folder / name, title) for name in request.tracked]


def show_all(trackers: Sequence[Tracking], epoch: int, name: str, figure: Figure) -> None:
    """Log a figure of the finished run."""
    for tracker in trackers:
        tracker.show(name, figure, epoch)


class OwnCallback(Callback):
    """A callback of the user's, made without arguments, whose errors are one sentence.

    Args:
        kind: Module and class, as in ``package.module:Class``.

    Raises:
        SpecError: There is no such class, or it is no callback, or cannot be made; from the
            hooks: the class raises an error.
    """

    def __init__(self, kind: str) -> None:
        self.asked = f"--callback {kind}"
        make = named_class(kind, self.asked)
        if not issubclass(make, Callback):
            raise SpecError(f"{self.asked}: give a subclass of pyrovae.Callback")
        with self._in_one_sentence():
            self.own = make()

    def on_start(self, training: Training) -> None:
        """As the user's."""
        with self._in_one_sentence():
            self.own.on_start(training)

    def on_step(self, training: Training) -> None:
        """As the user's."""
        with self._in_one_sentence():
            self.own.on_step(training)

    def on_epoch_end(self, training: Training, records: Sequence[Record]) -> None:
        """As the user's."""
        with self._in_one_sentence():
            self.own.on_epoch_end(training, records)

    def on_warning(self, training: Training, warning: FitWarning) -> None:
        """As the user's."""
        with self._in_one_sentence():
            self.own.on_warning(training, warning)

    def on_end(self, training: Training) -> None:
        """As the user's."""
        with self._in_one_sentence():
            self.own.on_end(training)

    @contextmanager
    def _in_one_sentence(self) -> Iterator[None]:
        try:
            yield
        except PyrovaeError:
            raise
        except Exception as error:  # a user's code
            last = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(last.filename).name}, line {last.lineno}"
            raise SpecError(
                f"{self.asked}: {type(error).__name__}: {reason(error)} ({where})"
            ) from error
