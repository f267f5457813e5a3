"""Display of the progress of a command: nowhere, or in the terminal."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence

from tqdm import tqdm

from pyrovae.report.console import caution
from pyrovae.training.fit_warnings import FitWarning
from pyrovae.training.loop import Callback, Training
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


class Bar(Progress):
    """A progress bar over the whole run, for a terminal."""

    def on_start(self, training: Training) -> None:
        """Draw the bar where training begins or goes on."""
        super().on_start(training)
        self.bar = tqdm(
            total=training.budget.steps,
            initial=training.step,
            unit="step",
            ncols=shutil.get_terminal_size().columns,  # tqdm draws nothing where a size is 0
            bar_format="{percentage:3.0f}% {bar:10} {remaining} left{postfix}",
        )

    def on_step(self, training: Training) -> None:
        """Move on to the step that training has come to."""
        self.bar.update(training.step - self.bar.n)

    def on_epoch_end(self, training: Training, records: Sequence[Record]) -> None:
        """Show the epoch's numbers."""
        train, validation = records
        self.bar.set_postfix_str(
            f"ELBO {train.elbo:.1f}, validation {validation.elbo:.1f} = "
            f"{validation.reconstruction:.1f} - KL {validation.kl:.1f}",
            refresh=False,
        )

    def on_warning(self, training: Training, warning: FitWarning) -> None:
        """Say it above the bar."""
        with self.bar.external_write_mode():
            super().on_warning(training, warning)

    def on_end(self, training: Training) -> None:
        """Leave the bar as it stands."""
        self.bar.close()


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
