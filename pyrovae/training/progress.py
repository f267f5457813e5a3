"""Progress bar of a training."""

from __future__ import annotations

import shutil
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from tqdm import TqdmWarning, notebook

from pyrovae.training.loop import Callback, Training
from pyrovae.training.records import Record

with warnings.catch_warnings():  # a notebook without ipywidgets gets a bar in text
    warnings.simplefilter("ignore", TqdmWarning)
    from tqdm.auto import tqdm


def is_watched() -> bool:
    """True if someone may see a bar: stderr is a terminal, or this is a notebook."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules


class ProgressBar(Callback):
    """A progress bar over the whole training: a widget in a notebook, else text on stderr."""

    bar: Any = None

    def on_start(self, training: Training) -> None:
        """Draw the bar where training begins or goes on."""
        width: dict[str, Any] = {"dynamic_ncols": True}
        if not issubclass(tqdm, notebook.tqdm):
            width = {"ncols": shutil.get_terminal_size().columns}  # of size 0 tqdm draws nothing
        self.bar = tqdm(
            total=training.budget.steps,
            initial=training.step,
            unit="step",
            bar_format="{percentage:3.0f}% {bar} {remaining} left{postfix}",
            **width,
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

    def on_end(self, training: Training) -> None:
        """Leave the bar as it stands."""
        self.close()

    def close(self) -> None:
        """Leave the bar as it stands, if it was drawn."""
        if self.bar is not None:
            self.bar.close()
