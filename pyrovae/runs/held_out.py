"""Runs judged on held-out data: the work of the commands ``evaluate`` and ``compare``."""

from __future__ import annotations

import argparse
import csv
import io
import math
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from pyrovae.compute import chunks
from pyrovae.compute.modes import EVALUATION_SEED
from pyrovae.diagnosis.comparison import (
    Comparison,
    compare,
    require_comparable,
    usual_simulations,
)
from pyrovae.errors import DataError, SpecError
from pyrovae.evaluation import annealing
from pyrovae.evaluation.cost import seconds_per_gradient
from pyrovae.evaluation.importance import standard_error
from pyrovae.evaluation.pointwise import (
    CHAINS,
    STEPS,
    Evaluation,
    is_discrete,
    judge,
)
from pyrovae.programs.autoencoder import Autoencoder
from pyrovae.report import console
from pyrovae.runs.files import file_name, known, write_atomically, write_json
from pyrovae.runs.folder import new_folder, versions
from pyrovae.runs.loading import Observations, Run, load_run
from pyrovae.specs.computation import Computation

# Seconds from which on it is said beforehand how long it will take.
LONG = 30.0
FEW_STEPS = 2


def evaluate_runs(options: argparse.Namespace, command: str) -> int:
    """Judge each run, print a table, and write ``RUN/evaluation/<data>.csv`` and ``.json``.

    Raises:
        PyrovaeError: A run or data that cannot be opened, or densities that are not finite.
    """
    opened = _open(options)
    seen = [run.first(options.num) for run in opened]
    _announce([(run.autoencoder, s.x) for run, s in zip(opened, seen, strict=True)], options)
    for run, observed in zip(opened, seen, strict=True):
        folder = run.folder / "evaluation"
        folder.mkdir(exist_ok=True)
        x, bar = observed.x, run.name if sys.stderr.isatty() else ""
        found = judge(
            run.autoencoder,
            x,
            options.samples,
            ais=options.ais,
            progress=bar,
            computation=Computation(options.compile),
        )
        bits = _bits_per_dimension(run, found)
        notes = [*run.notes, *filter(None, [observed.note])]
        file = folder / f"{file_name(run.data.name)}.json"
        facts = {"run": str(run.folder), **_facts(run, found, options, command)}
        write_json(file, {**facts, "notes": notes, **_summary(found, bits)})
        _write_csv(file.with_suffix(".csv"), observed, _columns(found))
        console.say(console.evaluation(str(run.folder), run.data.name, found, bits))
        console.say(console.written(notes, f"{file} and .csv"))
    return 0


def compare_runs(options: argparse.Namespace, command: str) -> int:
    """Compare runs in pairs, print a table and verdicts, and write them to a folder.

    Raises:
        PyrovaeError: Runs that cannot be opened, or cannot be compared.
    """
    from pyrovae.report.figures.comparison import differences

    opened = _open(options)
    names = _names(options.runs)
    seen = [run.first(options.num) for run in opened]
    _require_same_data(names, opened, seen)
    runs = dict(zip(names, opened, strict=True))
    models = {name: run.autoencoder for name, run in runs.items()}
    x = seen[0].x
    require_comparable(models, x, ais=options.ais)
    folder = new_folder(options.output, "compare")
    extra = usual_simulations(ais=options.ais)
    _announce([(model, x) for model in models.values()], options, extra)
    bars = sys.stderr.isatty()
    found = compare(
        models,
        x,
        samples=options.samples,
        ais=options.ais,
        progress=bars,
        computation=Computation(options.compile),
    )
    notes = [*(note for run in opened for note in run.notes), *filter(None, [seen[0].note])]
    notes = [*dict.fromkeys(notes), *found.notes()]
    facts = _facts(opened[0], found.evaluations[0], options, command)
    table = {name: {"run": str(runs[name].folder), **row} for name, row in _rows(found).items()}
    result = {**facts, "notes": notes, "models": table, "verdicts": found.verdicts()}
    write_json(folder / "comparison.json", result)
    columns = dict(zip(found.names, found.log_prob, strict=True))
    _write_csv(folder / "comparison.csv", seen[0], columns)
    differences(found).savefig(folder / "comparison.png")
    console.say(console.comparison(found, opened[0].data.name))
    console.say(console.written(notes, f"{folder}/comparison.json, .csv and .png"))
    return 0


def _open(options: argparse.Namespace) -> list[Run]:
    where = {"data": options.data, "data_root": options.data_root, "device": options.device}
    return [load_run(folder, **where) for folder in options.runs]


def _names(folders: Sequence[Path]) -> list[str]:
    """The folders' own names, or all of their paths if two have the same name."""
    names = [folder.resolve().name for folder in folders]
    return names if len(set(names)) == len(names) else [str(folder) for folder in folders]


def _require_same_data(
    names: Sequence[str], opened: Sequence[Run], seen: Sequence[Observations]
) -> None:
    """Refuse runs that do not see the very same data.

    Raises:
        DataError: Says what is different.
    """
    for name, run, observed in zip(names[1:], opened[1:], seen[1:], strict=True):
        if observed.x.equal(seen[0].x):
            continue
        both = f"{names[0]} and {name}"
        a, b = opened[0].data.test, run.data.test
        if a.shape != b.shape or not a.rows.equal(b.rows):
            raise DataError(
                f"{both} have different test data, {a.name} and {b.name}: name with --data what "
                "both are to be judged on"
            )
        if a.binarisation != b.binarisation:
            raise DataError(
                f"{both} see different things: binarisation of their data is '{a.binarisation}' "
                f"and '{b.binarisation}', so that their log p(x) cannot be compared"
            )
        if (a.offset, a.divisor) != (b.offset, b.divisor):
            raise DataError(
                f"{both} see data on different scales, up to {a.levels:g} and up to {b.levels:g}, "
                "so that their densities cannot be compared"
            )
        raise DataError(
            f"{both} have different test data, from {opened[0].source} and from {run.source}: "
            "name with --data what both are to be judged on"
        )


def _announce(
    work: Sequence[tuple[Autoencoder, Tensor]], options: argparse.Namespace, extra: int = 0
) -> None:
    """Say how long it will take, where that is long; found out on a few data."""
    seconds = 0.0
    for autoencoder, x in work:
        each = _seconds_per_datum(autoencoder, x, options.samples, ais=options.ais)
        seconds += each * (len(x) + extra)
    if seconds > LONG:
        console.say(f"this takes about {console.duration(seconds)}")


def _seconds_per_datum(autoencoder: Autoencoder, x: Tensor, samples: int, *, ais: bool) -> float:
    few, codes = x[: chunks.data(x.device)], min(samples, chunks.PER_DATUM)
    judge(autoencoder, few, 1)  # what is done for the first time takes longer
    start = time.perf_counter()
    judge(autoencoder, few, codes)
    seconds = (time.perf_counter() - start) / len(few) * samples / codes
    if ais:
        gradients = annealing.gradients(1, steps=STEPS, chains=CHAINS)
        seconds += gradients * seconds_per_gradient(autoencoder, x)
    return seconds


def _bits_per_dimension(run: Run, found: Evaluation) -> Tensor | None:
    r"""Per datum, where that is the custom: images of more than two levels, as probabilities.

    .. math::
        -\frac{\log p(x)}{D \log 2}
    """
    test = run.data.test
    images = test.are_images
    if not images or test.levels is None or test.levels <= 1:
        return None
    try:
        discrete = is_discrete(run.autoencoder, run.first(1).x)
    except SpecError:
        return None
    unknown = found.point and found.annealed is None
    if not discrete or unknown:
        return None
    return -found.best_log_prob / (test.shape.numel() * math.log(2))


def _facts(
    run: Run, found: Evaluation, options: argparse.Namespace, command: str
) -> dict[str, Any]:
    """How the numbers came about."""
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
        "unit": "nats per datum, of the model at beta = 1",
    }


def _summary(found: Evaluation, bits: Tensor | None) -> dict[str, Any]:
    columns = {**_columns(found), **({} if bits is None else {"bits_per_dimension": bits})}
    return {
        "bound": not found.point,
        "kl_kind": found.kl_kind,
        **{name: _mean(values) for name, values in columns.items()},
    }


def _rows(found: Comparison) -> dict[str, dict[str, Any]]:
    """The table of a comparison."""
    quantities = {
        "log_prob": (found.mean, found.error),
        "difference": (found.difference, found.difference_error),
        "bound_gap": (found.mean_gap, found.gap_error),
    }
    return {
        name: {
            **{
                quantity: {"mean": means[model].item(), "standard_error": errors[model].item()}
                for quantity, (means, errors) in quantities.items()
            },
            "rise_from_half_the_samples": None if found.ais else found.rise[model].item(),
            "stacking_weight": found.weights[model].item(),
            "best_is_better": found.ranked(model) if model else None,
        }
        for model, name in enumerate(found.names)
    }


def _mean(values: Tensor) -> dict[str, float]:
    return {"mean": values.mean().item(), "standard_error": standard_error(values).item()}


def _columns(found: Evaluation) -> dict[str, Tensor]:
    """What is known of each datum."""
    columns = {
        "elbo": found.elbo,
        "reconstruction": found.reconstruction,
        "kl": found.kl,
        "log_prob": found.log_prob,
        "effective_samples": found.effective_samples,
    }
    if found.annealed is not None and found.annealed_error is not None:
        columns |= {"log_prob_ais": found.annealed, "error_ais": found.annealed_error}
    return columns


def _write_csv(file: Path, observed: Observations, columns: Mapping[str, Tensor]) -> None:
    """A line for each datum; what is not known stays empty."""
    count = len(observed.x)
    labels = [""] * count if observed.labels is None else observed.labels.tolist()
    values = [known(column.tolist()) for column in columns.values()]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["index", "label", *columns])
    writer.writerows(zip(range(count), labels, *values, strict=True))
    write_atomically(file, text.getvalue().encode())
