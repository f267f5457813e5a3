"""Evaluation of runs on held-out data, one by one."""

from __future__ import annotations

import argparse
import math
import sys
from typing import Any

from torch import Tensor

from pyrovae.errors import SpecError
from pyrovae.evaluation.importance import standard_error
from pyrovae.evaluation.pointwise import Evaluation, is_discrete, judge
from pyrovae.report import console
from pyrovae.runs.files import file_name, write_json
from pyrovae.runs.held_out import announce, columns_of, facts_of, load_runs, write_csv
from pyrovae.runs.loading import Run
from pyrovae.specs.computation import Computation


def evaluate_runs(options: argparse.Namespace, command: str) -> int:
    """Evaluate each run, print a table, and write ``RUN/evaluation/<data>.csv``, ``.json``.

    Raises:
        PyrovaeError: A run or data that cannot be opened, or densities that are not finite.
    """
    opened = load_runs(options)
    seen = [run.first(options.num) for run in opened]
    announce([(run.autoencoder, s.x) for run, s in zip(opened, seen, strict=True)], options)
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
        facts = {"run": str(run.folder), **facts_of(run, found, options, command)}
        write_json(file, {**facts, "notes": notes, **_summary(found, bits)})
        write_csv(file.with_suffix(".csv"), observed, columns_of(found))
        console.say(console.evaluation(str(run.folder), run.data.name, found, bits))
        console.say(console.written(notes, f"{file} and .csv"))
    return 0


def _bits_per_dimension(run: Run, found: Evaluation) -> Tensor | None:
    r"""Bits per dimension, for images of more than two levels with a discrete p(x | z).

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


def _summary(found: Evaluation, bits: Tensor | None) -> dict[str, Any]:
    columns = {**columns_of(found), **({} if bits is None else {"bits_per_dimension": bits})}
    return {
        "bound": not found.point,
        "kl_kind": found.kl_kind,
        **{name: _mean(values) for name, values in columns.items()},
    }


def _mean(values: Tensor) -> dict[str, float]:
    return {"mean": values.mean().item(), "standard_error": standard_error(values).item()}
