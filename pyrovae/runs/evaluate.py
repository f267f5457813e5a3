"""Evaluation of runs on held-out data, one by one."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from pyrovae.compute.devices import own_device
from pyrovae.compute.distributed import ALONE, Processes
from pyrovae.evaluation.importance import standard_error
from pyrovae.evaluation.pointwise import Evaluation, evaluate_pointwise, measure
from pyrovae.evaluation.semi_amortised import require_possible
from pyrovae.report import console
from pyrovae.report.display import Display
from pyrovae.runs.atomic_files import file_name, write_json
from pyrovae.runs.held_out import announce, columns_of, facts_of, load_runs, write_csv
from pyrovae.runs.loading import Observations, Run
from pyrovae.runs.options import EvaluateOptions
from pyrovae.runs.output_files import require_writable
from pyrovae.runs.processes import require_same_work
from pyrovae.specs.computation import Computation
from pyrovae.specs.local_inference import LocalInference


@dataclass(frozen=True)
class EvaluatedRun:
    """Evaluation of a run.

    Attributes:
        run: The run.
        evaluation: Bound and log p(x) of the observations.
        bits: Bits per dimension ``(data,)``, for images with a discrete likelihood.
        notes: Notes for the reader.
        file: The JSON file; a CSV file lies beside it.
    """

    run: Run
    evaluation: Evaluation
    bits: Tensor | None
    notes: list[str]
    file: Path


def evaluate_runs(
    options: EvaluateOptions, command: str, display: Display, processes: Processes = ALONE
) -> list[EvaluatedRun]:
    """Evaluate each run, show a table, and write ``RUN/evaluation/<data>.csv``, ``.json``.

    Args:
        options: The request.
        command: The command line.
        display: Display of progress and results.
        processes: The processes that share the observations. The first alone writes and shows.

    Raises:
        PyrovaeError: A run or data that cannot be opened, or densities that are not finite.
    """
    opened = processes.together(lambda: _opened(options, processes))
    processes.together(lambda: require_same_work(options, opened, processes))
    observed = [run.first(options.num) for run in opened]
    work = [(run.autoencoder, o.batch) for run, o in zip(opened, observed, strict=True)]
    if processes.is_first:
        announce(work, options, display, refine_steps=options.refine_steps)
    evaluated = []
    for run, each in zip(opened, observed, strict=True):
        found = _found(run, each, options, display, processes)
        if processes.is_first:
            evaluated.append(_written(run, each, found, options, command, display))
    return evaluated


def _opened(options: EvaluateOptions, processes: Processes) -> list[Run]:
    """The runs, once it is known that they can be evaluated and the results be written."""
    if processes.is_first:
        for folder in options.runs:
            require_writable(_folder(folder, options))
    opened = load_runs(replace(options, device=own_device(options.device, processes)))
    asked = LocalInference(refine_steps=options.refine_steps)
    for run in opened:
        require_possible(run.autoencoder, run.first(options.num).batch, asked)
    return opened


def _found(
    run: Run,
    observed: Observations,
    options: EvaluateOptions,
    display: Display,
    processes: Processes,
) -> Evaluation:
    return evaluate_pointwise(
        run.autoencoder,
        observed.batch,
        options.samples,
        ais=options.ais,
        refine_steps=options.refine_steps,
        progress=run.name if display.bars else "",
        computation=Computation(options.compile),
        processes=processes,
    )


def _written(
    run: Run,
    observed: Observations,
    found: Evaluation,
    options: EvaluateOptions,
    command: str,
    display: Display,
) -> EvaluatedRun:
    folder = _folder(run.folder, options)
    folder.mkdir(parents=True, exist_ok=True)
    bits = _bits_per_dimension(run, found)
    notes = [*run.notes, *filter(None, [observed.note])]
    file = folder / f"{file_name(run.data.name)}.json"
    facts = {"run": str(run.folder), **facts_of(run, found, options, command)}
    if found.gain is not None:
        facts |= {
            "refine_steps": options.refine_steps,
            "seconds_per_observation": found.gain.seconds,
        }
    write_json(file, {**facts, "notes": notes, **_summary(found, bits)})
    write_csv(file.with_suffix(".csv"), observed, columns_of(found))
    display.say(console.evaluation(str(run.folder), run.data.name, found, bits))
    display.say(console.written(notes, f"{file} and .csv"))
    return EvaluatedRun(run, found, bits, notes, file)


def _folder(run: Path, options: EvaluateOptions) -> Path:
    """Folder of the files of a run."""
    if options.output is None:
        return run / "evaluation"
    return options.output if len(options.runs) == 1 else options.output / run.resolve().name


def _bits_per_dimension(run: Run, found: Evaluation) -> Tensor | None:
    r"""Bits per dimension, for images of more than two levels with a discrete p(x | z).

    .. math::
        -\frac{\log p(x)}{D \log 2}
    """
    test = run.data.test
    images = test.are_images
    if not images or test.levels is None or test.levels <= 1:
        return None
    unknown = found.point and found.annealed is None
    if unknown or measure(run.autoencoder, run.first(1).batch) != "probabilities":
        return None
    return -found.best_log_prob / (test.shape.numel() * math.log(2))


def _summary(found: Evaluation, bits: Tensor | None) -> dict[str, Any]:
    columns = {**columns_of(found), **({} if bits is None else {"bits_per_dimension": bits})}
    return {
        "bound": not found.point,
        "kl_kind": found.kl_kind,
        **{name: _mean(values) for name, values in columns.items()},
    }


def _mean(values: Tensor) -> dict[str, float]:
    return {"mean": values.mean().item(), "standard_error": standard_error(values).item()}
