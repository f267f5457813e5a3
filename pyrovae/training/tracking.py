"""The callback that tells a tracker how a training goes on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyrovae.errors import SpecError, reason
from pyrovae.programs.handwritten import Handwritten
from pyrovae.specs.base import by_key
from pyrovae.specs.tracking import TRACKERS, require_tracker
from pyrovae.training.loop import Callback, Training
from pyrovae.training.records import Record
from pyrovae.training.trackers import Place, Tracker, open_tracker

if TYPE_CHECKING:
    from matplotlib.figure import Figure

logger = logging.getLogger("pyrovae")


class Tracking(Callback):
    """Callback that logs specifications and records to TensorBoard, MLflow, W&B or Trackio.

    A training that goes on does so in the same log. A tracker that fails on the way is named in
    a warning of the logger "pyrovae", and training goes on without it.

    Args:
        tracker: "tensorboard", "mlflow", "wandb" or "trackio"; or an object with the methods of
            :class:`pyrovae.training.trackers.Tracker`.
        log_dir: Folder of the log, if the tracker is given by name.
        title: Name of the training in the tool's pages; by default that of the folder.

    Attributes:
        tracker: The open log; None before the training, and after a failure.

    Raises:
        SpecError: There is no such tracker, or it is not installed, or has no folder. As training
            begins: it cannot be opened.
    """

    def __init__(
        self, tracker: str | Tracker, log_dir: Path | str | None = None, title: str | None = None
    ) -> None:
        if not isinstance(tracker, str):
            self.name, self.tracker = type(tracker).__name__, tracker
            _require_methods(tracker)
            return
        require_tracker(tracker, f"Tracking('{tracker}')")
        if log_dir is None:
            raise SpecError(
                f"Tracking('{tracker}'): name the folder of the log as well, as in "
                f"Tracking('{tracker}', 'runs/{tracker}')"
            )
        self.name, self.tracker = tracker, None
        self.log_dir = Path(log_dir)
        self.title = title or self.log_dir.absolute().name

    name: str
    tracker: Tracker | None
    log_dir: Path | None = None
    title: str = ""

    def on_start(self, training: Training) -> None:
        """Open the log; log the specifications."""
        if self.log_dir is not None:
            self.tracker = self._opened(Place(self.log_dir, self.title, training.epoch))
        self._try(lambda tracker: tracker.log_params(parameters(training)))

    def on_epoch_end(self, training: Training, records: Sequence[Record]) -> None:
        """Log the numbers of the epoch."""
        self.log(records)

    def on_end(self, training: Training) -> None:
        """Write out the log."""
        self._try(lambda tracker: tracker.flush())

    def log(self, records: Sequence[Record]) -> None:
        """Log records of one epoch."""
        values = {name: value for record in records for name, value in metrics(record).items()}
        self._try(lambda tracker: tracker.log_metrics(values, records[0].epoch))

    def show(self, name: str, figure: Figure, epoch: int) -> None:
        """Log a figure, after the end, and write it out."""
        self._try(lambda tracker: tracker.add_figure(name, figure, epoch))
        self._try(lambda tracker: tracker.flush())

    def _opened(self, place: Place) -> Tracker:
        try:
            return open_tracker(require_tracker(self.name, "the tracker"), place)
        except Exception as error:  # of other software: no account, no server
            raise SpecError(f"{self.name} cannot track the training: {reason(error)}") from error

    def _try(self, action: Callable[[Tracker], None]) -> None:
        """Do something with the log, as long as it works."""
        if self.tracker is None:
            return
        try:
            action(self.tracker)
        except Exception as error:  # of other software: a server that is gone, a full disk
            self.tracker = None
            logger.warning("%s has failed, and tracks no more: %s", self.name, reason(error))


def metrics(record: Record) -> dict[str, float]:
    """The numbers of a record by name: ``elbo/validation`` and the like, in nats; β; seconds."""
    numbers = {name: getattr(record, name) for name in ("elbo", "reconstruction", "kl", "loss")}
    if len(record.kl_per_site) > 1:
        numbers |= {f"kl_{site}": kl for site, kl in record.kl_per_site.items()}
    values = {f"{name}/{record.split}": value for name, value in numbers.items()}
    if record.split == "train":
        values |= {"beta": record.beta, "seconds": record.seconds}
    return values


def parameters(training: Training) -> dict[str, Any]:
    """The resolved specifications by key, as after ``--set``; the data and the device."""
    autoencoder, found = training.autoencoder, {"inference": _tree(training.spec)}
    declaration = autoencoder.declaration
    if declaration is not None:  # it has what was left to the data
        found["inference"]["guide"] = _tree(declaration.inference.guide)
        found["model"] = _tree(declaration.model)
    elif isinstance(autoencoder, Handwritten):
        found["program"] = {"file": autoencoder.path.name, **autoencoder.spec.arguments}
    return {
        **by_key(found),
        "data": training.splits.description,
        "device": str(training.device),
    }


def _tree(spec: Any) -> dict[str, Any]:
    return spec.model_dump(mode="json", exclude_none=True)


def _require_methods(tracker: object) -> None:
    """Refuse an object that cannot track.

    Raises:
        SpecError: It lacks a method.
    """
    for name in ("log_metrics", "log_params", "add_figure", "flush"):
        if not callable(getattr(tracker, name, None)):
            raise SpecError(
                f"Tracking({tracker!r}): it has no method {name}: give one of "
                f"{', '.join(TRACKERS)}, or an object with the methods of "
                "pyrovae.training.trackers.Tracker"
            )
