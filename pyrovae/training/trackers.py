"""Tools that track trainings, behind one small protocol; each is imported when it is asked for."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, assert_never

from pyrovae.specs.own import installed_module
from pyrovae.specs.tracking import TrackerName

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PROJECT = "pyrovae"
"""Project or experiment, where the tool's own environment variable names no other."""


class Tracker(Protocol):
    """A log of a training, of any tool.

    Attributes:
        log_dir: Its folder, or where the name of a log elsewhere is kept.
    """

    log_dir: Path

    def log_metrics(self, values: Mapping[str, float], step: int) -> None:
        """Log numbers; the step is the number of finished epochs."""

    def log_params(self, values: Mapping[str, Any]) -> None:
        """Log the specifications by key, also where training goes on."""

    def add_figure(self, name: str, figure: Figure, step: int) -> None:
        """Log a picture."""

    def flush(self) -> None:
        """Write out what was logged: training has ended, or is interrupted."""


class Place(NamedTuple):
    """The log that is opened.

    Attributes:
        log_dir: Folder; made if it is missing.
        title: Name of the training in the tool's pages.
        epoch: Number of finished epochs; from 1 on, the log is that of the epochs so far.
    """

    log_dir: Path
    title: str
    epoch: int

    def identifier(self) -> str:
        """Identifier of the log in a tool that keeps it elsewhere, or "" for a new log."""
        file = self.log_dir / "id"
        return file.read_text(encoding="utf-8").strip() if self.epoch and file.is_file() else ""

    def keep(self, identifier: str) -> None:
        """Keep the identifier, for :meth:`identifier` of a training that goes on."""
        self.log_dir.mkdir(parents=True, exist_ok=True)
        (self.log_dir / "id").write_text(identifier, encoding="utf-8")

    def chosen(self) -> str:
        """Identifier of the log, where a tool takes any; kept."""
        found = self.identifier() or uuid.uuid4().hex[:8]
        self.keep(found)
        return found


class TensorBoard:
    """Event files in a folder: ``tensorboard --logdir FOLDER``."""

    def __init__(self, place: Place) -> None:
        make = _module("torch.utils.tensorboard").SummaryWriter
        self.log_dir, self.epoch = place.log_dir, place.epoch
        # What was logged of later epochs, or of another training, is not shown.
        self.writer = make(str(place.log_dir), purge_step=place.epoch + 1 if place.epoch else 0)

    def log_metrics(self, values: Mapping[str, float], step: int) -> None:
        """A curve for each number."""
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)
        self.flush()  # so that the log has all that a checkpoint has

    def log_params(self, values: Mapping[str, Any]) -> None:
        """A table in words: TensorBoard's own parameters would be a training of their own."""
        rows = "\n".join(f"| {key} | {value} |" for key, value in values.items())
        self.writer.add_text("specifications", f"| key | value |\n|---|---|\n{rows}", self.epoch)

    def add_figure(self, name: str, figure: Figure, step: int) -> None:
        """A picture."""
        self.writer.add_figure(name, figure, step)

    def flush(self) -> None:
        """Write the file."""
        self.writer.flush()


class MLflow:
    """A run of the store that ``MLFLOW_TRACKING_URI`` names, or of MLflow's usual one."""

    def __init__(self, place: Place) -> None:
        self.client = _module("mlflow").MlflowClient()
        self.log_dir, self.run = place.log_dir, place.identifier()
        if self.run:
            self.client.update_run(self.run, status="RUNNING")
        else:
            created = self.client.create_run(self._experiment(), run_name=place.title)
            self.run = created.info.run_id
            place.keep(self.run)

    def _experiment(self) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        found = self.client.get_experiment_by_name(name)
        return self.client.create_experiment(name) if found is None else found.experiment_id

    def log_metrics(self, values: Mapping[str, float], step: int) -> None:
        """A metric for each number."""
        for name, value in values.items():
            self.client.log_metric(self.run, name, value, step=step)

    def log_params(self, values: Mapping[str, Any]) -> None:
        """Parameters; MLflow permits none to change, so a changed one is a tag."""
        known = self.client.get_run(self.run).data.params
        for key, value in values.items():
            if key not in known:
                self.client.log_param(self.run, key, value)
            elif known[key] != str(value):
                self.client.set_tag(self.run, key, value)

    def add_figure(self, name: str, figure: Figure, step: int) -> None:
        """An artifact."""
        self.client.log_figure(self.run, figure, f"{name}-{step}.png")

    def flush(self) -> None:
        """Mark the run as ended; more may still be logged."""
        self.client.set_terminated(self.run)


class WandB:
    """A run of Weights & Biases, in the project ``WANDB_PROJECT``; it ends with the process."""

    def __init__(self, place: Place) -> None:
        self.wandb = _module("wandb")
        self.log_dir = place.log_dir
        self.run = self.wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=place.title,
            id=place.chosen(),
            resume="allow",
            dir=str(place.log_dir),
            reinit="create_new",
        )

    def log_metrics(self, values: Mapping[str, float], step: int) -> None:
        """A curve for each number."""
        self.run.log(dict(values), step=step)

    def log_params(self, values: Mapping[str, Any]) -> None:
        """The run's config."""
        self.run.config.update(dict(values), allow_val_change=True)

    def add_figure(self, name: str, figure: Figure, step: int) -> None:
        """A picture."""
        self.run.log({name: self.wandb.Image(figure)}, step=step)

    def flush(self) -> None:
        """Nothing: it is sent as it is logged."""


class Trackio:
    """A run of Trackio, in the project ``TRACKIO_PROJECT``; it ends with the process."""

    def __init__(self, place: Place) -> None:
        self.trackio = _module("trackio")
        self.log_dir, self.name = place.log_dir, f"{place.title}-{place.chosen()}"
        self.run: Any = None

    def log_metrics(self, values: Mapping[str, float], step: int) -> None:
        """A curve for each number."""
        self.run.log(dict(values), step=step)

    def log_params(self, values: Mapping[str, Any]) -> None:
        """The run's config, with which it begins."""
        self.run = self.trackio.init(
            project=os.environ.get("TRACKIO_PROJECT", PROJECT),
            name=self.name,
            config=dict(values),
            resume="allow",
            embed=False,
        )

    def add_figure(self, name: str, figure: Figure, step: int) -> None:
        """A picture."""
        file = self.log_dir / f"{name}.png"
        figure.savefig(file)
        self.run.log({name: self.trackio.Image(str(file))}, step=step)

    def flush(self) -> None:
        """Nothing: a thread of its own writes what is logged."""


def open_tracker(name: TrackerName, place: Place) -> Tracker:
    """Begin a log, or go on with it.

    Raises:
        Exception: Whatever the tool raises.
    """
    match name:
        case "tensorboard":
            return TensorBoard(place)
        case "mlflow":
            return MLflow(place)
        case "wandb":
            return WandB(place)
        case "trackio":
            return Trackio(place)
        case _:
            assert_never(name)


def _module(name: str) -> Any:
    return installed_module(name, "the tracker")
