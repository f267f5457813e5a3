"""Work on held-out data that the commands ``evaluate`` and ``compare`` share."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from pyrovae.compute import chunks
from pyrovae.compute.modes import EVALUATION_SEED
from pyrovae.data import Batch
from pyrovae.evaluation import annealed_importance as annealing
from pyrovae.evaluation.cost import seconds_per_gradient
from pyrovae.evaluation.pointwise import (
    CHAINS,
    STEPS,
    Evaluation,
    evaluate_pointwise,
)
from pyrovae.evaluation.refinement import DRAWS
from pyrovae.programs.autoencoder import Autoencoder
from pyrovae.report import console
from pyrovae.report.display import Display
from pyrovae.runs.atomic_files import known, write_atomically
from pyrovae.runs.loading import Observations, Run, load_run
from pyrovae.runs.options import HeldOutOptions
from pyrovae.runs.writing import versions

# Seconds from which on the duration is announced.
LONG = 30.0


def load_runs(options: HeldOutOptions) -> list[Run]:
    """Load the runs and the data that a command names."""
    return [
        load_run(folder, data=options.data, data_root=options.data_root, device=options.device)
        for folder in options.runs
    ]


def announce(
    work: Sequence[tuple[Autoencoder, Batch]],
    options: HeldOutOptions,
    display: Display,
    extra: int = 0,
    refine_steps: int = 0,
) -> None:
    """Announce the estimated duration, if long; measured on a few observations."""
    seconds = 0.0
    for autoencoder, batch in work:
        each = _seconds_per_datum(autoencoder, batch, options.samples, ais=options.ais)
        if refine_steps:
            each += refine_steps * DRAWS * seconds_per_gradient(autoencoder, batch)
        seconds += each * (len(batch) + extra)
    if seconds > LONG:
        display.say(f"this takes about {console.duration(seconds)}")


def _seconds_per_datum(
    autoencoder: Autoencoder, batch: Batch, samples: int, *, ais: bool
) -> float:
    few, codes = batch[: chunks.data(batch.device)], min(samples, chunks.PER_DATUM)
    evaluate_pointwise(autoencoder, few, 1)  # the first evaluation takes longer
    start = time.perf_counter()
    evaluate_pointwise(autoencoder, few, codes)
    seconds = (time.perf_counter() - start) / len(few) * samples / codes
    if ais:
        gradients = annealing.gradients(1, steps=STEPS, chains=CHAINS)
        seconds += gradients * seconds_per_gradient(autoencoder, batch)
    return seconds


def facts_of(run: Run, found: Evaluation, options: HeldOutOptions, command: str) -> dict[str, Any]:
    """Settings behind the numbers."""
    return {
        "command": command,
        "versions": versions(),
        "device": str(run.device),
        "data": {
            "name": run.data.name,
            "source": run.source if options.data is None else options.data,
            "fingerprint": run.fingerprint,
            "split": "test",
            "count": len(found.elbo),
        },
        "seed": EVALUATION_SEED,
        "samples": found.samples,
        "annealing": {"steps": STEPS, "chains": CHAINS} if options.ais else None,
        "unit": "nats per observation, of the model at beta = 1",
    }


def columns_of(found: Evaluation) -> dict[str, Tensor]:
    """Columns of the results per observation."""
    columns = {
        "elbo": found.elbo,
        "reconstruction": found.reconstruction,
        "kl": found.kl,
        "log_prob": found.log_prob,
        "effective_samples": found.effective_samples,
    }
    if found.gain is not None and found.gain.encoder and found.gain.refined:
        columns |= {"elbo_encoder": found.gain.encoder.elbo, "khat": found.gain.refined.khat}
    if found.annealed is not None and found.annealed_error is not None:
        columns |= {"log_prob_ais": found.annealed, "error_ais": found.annealed_error}
    return columns


def write_csv(file: Path, observed: Observations, columns: Mapping[str, Tensor]) -> None:
    """Write a row for each observation; unknown values stay empty."""
    count = len(observed.batch)
    labels = [""] * count if observed.labels is None else observed.labels.tolist()
    values = [known(column.tolist()) for column in columns.values()]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["index", "label", *columns])
    writer.writerows(zip(range(count), labels, *values, strict=True))
    write_atomically(file, text.getvalue().encode())
