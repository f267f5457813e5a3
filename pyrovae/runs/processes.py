"""Checks of the processes that train one run together, and the end of a run that has lost one."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from pyrovae.compute.devices import own_device
from pyrovae.compute.distributed import Processes
from pyrovae.errors import LostProcessError, SpecError
from pyrovae.report import console
from pyrovae.runs.facts import LOCK
from pyrovae.runs.loading import Run, load_run
from pyrovae.runs.options import DiagnoseOptions, ExploreOptions
from pyrovae.runs.weights import file_content
from pyrovae.runs.writing import Identity
from pyrovae.specs import InferenceSpec
from pyrovae.training.loop import Training

# A network file system shows a new file after some seconds.
UNTIL_SEEN = 10.0
# Options that say where things are, which may be elsewhere on another machine.
PLACES = ("run", "runs", "data", "data_root", "output", "device")


def require_enough(spec: InferenceSpec, processes: Processes) -> None:
    """Refuse more processes than there are observations in a batch.

    Raises:
        SpecError: Some would have nothing to do.
    """
    if processes.size > spec.batch_size:
        raise SpecError(
            f"{processes.size} processes share batches of inference.batch_size = "
            f"{spec.batch_size} observations: start at most {spec.batch_size}"
        )


def require_same(training: Training, processes: Processes) -> None:
    """Refuse processes that would train something else than the first.

    Raises:
        SpecError: Says in what one differs.
    """
    own = Identity.of(training)
    first, computation, device = processes.first((own, training.computation, training.device.type))
    if own.fingerprint != first.fingerprint:
        raise SpecError("its data are others than those of process 0: copy them to every machine")
    if own.declarations != first.declarations:
        raise SpecError("its specification is another one than that of process 0")
    if training.computation != computation:
        raise SpecError("its --compile or --precision is another one than that of process 0")
    if training.device.type != device:
        raise SpecError(
            f"it would train on {training.device.type} and process 0 on {device}: choose --device"
        )


def open_together(options: DiagnoseOptions | ExploreOptions, processes: Processes) -> Run:
    """The run that a command names, the same in all processes, each on its own device.

    Raises:
        PyrovaeError: It cannot be opened, or the processes would do other work on it.
    """

    def load() -> Run:
        return load_run(
            options.run,
            data=options.data,
            data_root=options.data_root,
            device=own_device(options.device, processes),
        )

    run = processes.together(load)
    processes.together(lambda: require_same_work(options, [run], processes))
    return run


def require_same_work(options: Any, runs: Sequence[Run], processes: Processes) -> None:
    """Refuse processes that would share other work on runs than the first does.

    Args:
        options: Options of a command, a dataclass.
        runs: The runs that it names.
        processes: The processes.

    Raises:
        SpecError: Says in what one differs.
    """
    if processes.alone:
        return
    own = {
        "options: give all processes the same line": {
            key: value for key, value in vars(options).items() if key not in PLACES
        },
        "weights: copy the run to every machine": [
            sha256(file_content(run.autoencoder)).hexdigest() for run in runs
        ],
        "data: copy them to every machine": [run.fingerprint for run in runs],
        "kind of device: choose --device": [run.device.type for run in runs],
    }
    first = processes.first(own)
    if other := next((what for what in own if own[what] != first[what]), None):
        raise SpecError(f"not those of process 0 are its {other}")


def require_shared(folder: Path) -> None:
    """Refuse an output folder that is not the one into which the first process writes.

    Raises:
        SpecError: It does not see the first process's lock.
    """
    until = time.monotonic() + UNTIL_SEEN
    while not (folder / LOCK).exists():
        if time.monotonic() > until:
            raise SpecError(
                f"its {folder.absolute()} is not the folder that process 0 writes to: "
                "--output has to be on a file system that all machines share"
            )
        time.sleep(0.2)


@contextmanager
def saying_how_to_go_on(folder: Path) -> Iterator[None]:
    """Add to the error about a lost process how its run goes on.

    Raises:
        LostProcessError: The longer one.
    """
    try:
        yield
    except LostProcessError as error:
        if str(error):
            raise LostProcessError(console.lost(str(error), str(folder))) from None
        raise
