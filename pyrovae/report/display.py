"""Display of the progress of a command: nowhere, or in the terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from pyrovae.report.console import caution
from pyrovae.training.fit_warnings import FitWarning
from pyrovae.training.loop import Callback, Training
from pyrovae.training.progress import ProgressBar
from pyrovae.training.records import Record


class Display:
    """A display that shows nothing.

    Attributes:
        bars: Whether progress bars are drawn.
    """

    bars = False

    def say(self, text: str) -> None:
        """Show a text."""

    def callbacks(self) -> list[Callback]:
        """Callbacks that show how a training goes on."""
        return []


class Terminal(Display):
    """A display that prints: texts on stdout, progress bars on stderr where that is a terminal."""

    def __init__(self) -> None:
        self.bars = sys.stderr.isatty()

    def say(self, text: str) -> None:
        """Print, at once also where the output is a file."""
        print(text, flush=True)

    def callbacks(self) -> list[Callback]:
        """A bar over the whole training, or a line for each epoch."""
        return [Bar(self) if self.bars else Lines(self)]


class Progress(Callback):
    """Callback that shows how steps are taken, and warnings."""

    def __init__(self, display: Display) -> None:
        self.display = display

    def on_start(self, training: Training) -> None:
        """Show how steps are taken, once that is decided."""
        self.display.say(f"{'steps':<11} {training.execution.summary}")

    def on_warning(self, training: Training, warning: FitWarning) -> None:
        """Show what goes badly, and what to try."""
        self.display.say(f"epoch {warning.epoch}\n{caution(warning)}")


class Bar(Progress, ProgressBar):
    """A progress bar, with texts above it."""

    def on_start(self, training: Training) -> None:
        """Say how steps are taken, then draw the bar."""
        Progress.on_start(self, training)
        ProgressBar.on_start(self, training)

    def on_warning(self, training: Training, warning: FitWarning) -> None:
        """Say it above the bar."""
        with self.bar.external_write_mode():
            super().on_warning(training, warning)


class Lines(Progress):
    """A plain line for each epoch, for a log."""

    def on_epoch_end(self, training: Training, records: Sequence[Record]) -> None:
        """Print the epoch's numbers."""
        train, validation = records
        self.display.say(
            f"epoch {train.epoch:>4}/{training.budget.epochs}"
            f"  training ELBO {train.elbo:9.2f}  validation ELBO {validation.elbo:9.2f}"
            f" = reconstruction {validation.reconstruction:9.2f} - KL {validation.kl:6.2f}"
        )


class Bars(Display):
    """The progress bars of another display, without its texts."""

    def __init__(self, display: Display) -> None:
        self.bars = display.bars

    def callbacks(self) -> list[Callback]:
        """A bar, where there are any."""
        return [ProgressBar()] if self.bars else []
