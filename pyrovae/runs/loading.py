"""Load a finished or unfinished run from its folder."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from pyrovae import notebook
from pyrovae.compute.devices import choose_device
from pyrovae.compute.randomness import seeded
from pyrovae.data import Batch, Splits
from pyrovae.errors import CheckpointError, SpecError
from pyrovae.evaluation.batches import observations
from pyrovae.evaluation.support_check import check_support
from pyrovae.programs.autoencoder import Autoencoder
from pyrovae.programs.handwritten import Handwritten
from pyrovae.runs.facts import (
    ARGUMENTS,
    BEST,
    FACTS,
    INFERENCE,
    LAST,
    PROGRAM,
    WEIGHTS,
    RunFacts,
    announce_program,
    is_program,
)
from pyrovae.runs.manifest import verify
from pyrovae.runs.metrics_file import best_epoch, last_epoch, read_metrics
from pyrovae.runs.run_data import differences, of_its_shape, own_or_other
from pyrovae.runs.weights import load_declared, load_weights
from pyrovae.runs.writing import is_trained
from pyrovae.specs import InferenceSpec
from pyrovae.specs.files import read
from pyrovae.specs.program import ProgramSpec, read_arguments
from pyrovae.training.records import History, Record


class Observations(NamedTuple):
    """The first test observations, as the model sees them.

    Attributes:
        batch: Data, on the autoencoder's device; random bits are always the same.
        labels: Classes ``(data,)`` on the CPU, if there are any.
        note: Note that there are fewer than requested; else empty.
    """

    batch: Batch
    labels: Tensor | None
    note: str


@dataclass(frozen=True)
class Run:
    """A loaded run.

    Attributes:
        folder: Folder of the run.
        name: Name of the folder.
        autoencoder: Autoencoder with its weights, in evaluation mode, on its device.
        data: The data as the model sees them.
        inference: The inference's specification.
        facts: The content of ``run.json``.
        chosen: Name or path of the data, if they are other than the run's own.
        fingerprint: Fingerprint of :attr:`data`; that of the run is in ``facts.data``.
        epoch: Epoch of the weights.
        notes: Notes for the reader of any result, a sentence each, such as that the run is not
            finished, or that the data have changed.
    """

    folder: Path
    name: str
    autoencoder: Autoencoder
    data: Splits
    inference: InferenceSpec
    facts: RunFacts
    chosen: str | None
    fingerprint: str
    epoch: int
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Run({self.folder}: {self.facts.status}, fitted to {self.source})"

    def _repr_html_(self) -> str:
        test = self.facts.test
        rows = {
            "status": self.facts.status,
            "command": self.facts.command,
            "data": self.data.description,
            **self.autoencoder.summary(),
            **({} if test is None else {"test ELBO": f"{test['elbo']:.2f} nats per observation"}),
        }
        notes = map(notebook.paragraph, self.notes)
        return notebook.card(str(self.folder), notebook.table(rows), *notes)

    @property
    def records(self) -> History:
        """Training and validation records of the epochs."""
        lines = [line for line in read_metrics(self.folder) if line["split"] != "test"]
        found = History(Record(**{f.name: line[f.name] for f in fields(Record)}) for line in lines)
        found.kept = self.epoch
        return found

    @property
    def source(self) -> str:
        """Name or path of the training data."""
        return self.facts.data.source

    @property
    def device(self) -> torch.device:
        """Device of the parameters."""
        return self.autoencoder.device

    def first(self, num: int | None = None) -> Observations:
        """The first ``num`` test observations; all by default, or if there are fewer."""
        test = self.data.test
        index = torch.arange(len(test))[:num]
        labels = test.label(index)
        fewer = num is not None and len(index) < num
        return Observations(
            observations(test, index).to(self.device),
            None if labels is None else labels.cpu(),
            f"{test.name} has only {len(test)} test data, fewer than the {num} asked for: "
            "all are used"
            if fewer
            else "",
        )


class Weights(NamedTuple):
    """A file of weights, their epoch, and notes on it."""

    file: Path
    epoch: int
    notes: tuple[str, ...]


def load(path: str | Path, device: str | torch.device = "cpu") -> Autoencoder:
    """Load the autoencoder from a file written by :func:`pyrovae.save`, or from a run's folder.

    Args:
        path: A ``.safetensors`` file, or a run's folder, whose kept weights are loaded
            (``weights.safetensors``). A program by hand is run once on the run's data, which
            have to be there.
        device: Device of the parameters, wherever they were fitted.

    Raises:
        CheckpointError: The file is missing, damaged, or holds weights without a declaration.
        DataError: The data of a program by hand are missing.
    """
    folder = Path(path)
    if not is_program(folder):
        return load_declared(folder, device)
    return load_run(folder, device="cpu").autoencoder.to(device)


def load_model(folder: str | Path, device: str = "auto") -> tuple[Autoencoder, tuple[str, ...]]:
    """Load the autoencoder of a run, and notes on its weights; no data but for a program by hand.

    Args:
        folder: Folder of the run, finished or not.
        device: "auto", "cpu", "cuda", or one of several GPUs, such as "cuda:1".

    Raises:
        PyrovaeError: As :func:`load_run`.
    """
    folder = Path(folder)
    if is_program(folder):
        run = load_run(folder, device=device)
        return run.autoencoder, run.notes
    facts, inference = _facts(folder), _inference(folder)
    weights, where = _weights(folder, inference, facts), choose_device(device)
    with seeded(inference.seed):
        return load_declared(weights.file, where), weights.notes


def load_run(
    folder: str | Path,
    *,
    data: str | Path | None = None,
    data_root: str | Path | None = None,
    device: str = "auto",
) -> Run:
    """Load a run from its folder: autoencoder, data and facts.

    An unfinished run is loaded with the weights of the end of an epoch, and a note says so.

    Args:
        folder: Folder written by ``python -m pyrovae.train``.
        data: Name or path of other data for the model; by default the run's own.
        data_root: Folder of named data sets; by default that of the run.
        device: "auto", "cpu", "cuda", or one of several GPUs, such as "cuda:1".

    Raises:
        CheckpointError: The folder is not a run's, is damaged, has no weights yet, or was made
            by a newer version.
        DataError: The data are missing, or do not fit the model.
        SpecError: There is no such device, or a program cannot be run.
    """
    folder = Path(folder)
    facts = _facts(folder)
    inference = _inference(folder)
    weights = _weights(folder, inference, facts)
    where = choose_device(device)
    stored = own_or_other(folder, facts, data, data_root)
    autoencoder = open_autoencoder(folder, weights.file, stored, inference)
    autoencoder.to(where).eval()
    seen = autoencoder.contract.apply(stored)
    check_support(autoencoder, seen.test)
    fingerprint = seen.fingerprint()
    changed = differences(facts, seen, fingerprint, chosen=data is not None)
    return Run(
        folder=folder,
        name=folder.resolve().name,
        autoencoder=autoencoder,
        data=seen,
        inference=inference,
        facts=facts,
        chosen=None if data is None else str(data),
        fingerprint=fingerprint,
        epoch=weights.epoch,
        notes=(*weights.notes, *changed),
    )


def _facts(folder: Path) -> RunFacts:
    if not folder.is_dir():
        raise CheckpointError(f"there is no folder {folder}: give the folder of a run")
    facts = RunFacts.read(folder)
    verify(folder, FACTS)
    killed = facts.status == "running" and not is_trained(folder)
    return facts.with_changes({"status": "interrupted"}) if killed else facts


def _inference(folder: Path) -> InferenceSpec:
    file = folder / INFERENCE
    if not file.is_file():
        raise CheckpointError(f"{folder} is not a whole run: it has no {INFERENCE}")
    try:
        spec = read(file, InferenceSpec)
    except SpecError as error:
        first = str(error).partition("\n")[0]
        raise CheckpointError(f"cannot be read by this version: {first}") from None
    verify(folder, INFERENCE)
    return spec


def _weights(folder: Path, inference: InferenceSpec, facts: RunFacts) -> Weights:
    """Kept weights; for an unfinished run, the last, or the best with early stopping."""
    finished = folder / WEIGHTS
    if not finished.is_file():
        verify(folder, WEIGHTS)
    else:
        epoch = (facts.weights or {}).get("epoch")
        return Weights(finished, last_epoch(folder) if epoch is None else epoch, ())
    order = (LAST, BEST) if inference.early_stopping is None else (BEST, LAST)
    for name in order:
        file = folder / name
        if file.is_file():
            epoch = best_epoch(folder, inference) if name == BEST else last_epoch(folder)
            note = (
                f"{folder} is unfinished: these are its {file.stem} weights, of epoch {epoch} of "
                f"{inference.epochs}"
            )
            return Weights(file, epoch, (note,))
    if facts.status == "diverged":
        raise CheckpointError(
            f"{folder} has no weights: its training diverged in the first epoch; look at the "
            "data, and train anew with a lower inference.optimiser.learning_rate"
        )
    raise CheckpointError(
        f"{folder} has no weights yet: no epoch of it has ended; go on with "
        f"python -m pyrovae.train --resume {shlex.quote(str(folder))}"
    )


def other_data(run: Run, source: str | Path, data_root: str | Path | None = None) -> Splits:
    """Other data, as the run's model sees them.

    Args:
        run: Run of the model.
        source: Name or path.
        data_root: Folder of named data sets; by default that of the run.

    Raises:
        DataError: The data are missing, or do not fit the model.
    """
    stored = of_its_shape(run.folder, run.facts, str(source), data_root)
    seen = run.autoencoder.contract.apply(stored)
    check_support(run.autoencoder, seen.test)
    return seen


def open_autoencoder(
    folder: Path, weights: Path, data: Splits, inference: InferenceSpec
) -> Autoencoder:
    """Autoencoder of a run with weights from a file, on the CPU.

    Args:
        folder: Folder of the run.
        weights: The file.
        data: Data on which handwritten programs are run once.
        inference: The inference's specification.
    """
    with seeded(inference.seed):
        if not is_program(folder):
            return load_declared(weights)
        announce_program(folder)
        autoencoder = Handwritten(program_of(folder), data)
    load_weights(autoencoder, weights)
    return autoencoder


def program_of(folder: Path) -> ProgramSpec:
    """The program in a run's folder, with its arguments.

    Raises:
        CheckpointError: It is not as the run wrote it.
    """
    verify(folder, PROGRAM, ARGUMENTS)
    return ProgramSpec(folder / PROGRAM, read_arguments(folder / ARGUMENTS))
