"""Paired comparison of runs on the same held-out data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pyrovae.data import Batch
from pyrovae.diagnosis.comparison import (
    Comparison,
    compare,
    require_comparable,
    usual_simulations,
)
from pyrovae.errors import DataError
from pyrovae.report import console
from pyrovae.report.display import Display
from pyrovae.runs.atomic_files import write_json
from pyrovae.runs.held_out import announce, facts_of, load_runs, write_csv
from pyrovae.runs.loading import Observations, Run
from pyrovae.runs.options import CompareOptions
from pyrovae.runs.writing import new_folder
from pyrovae.specs.computation import Computation


def compare_runs(options: CompareOptions, command: str, display: Display) -> Comparison:
    """Compare runs in pairs, show a table and verdicts, and write them to a folder.

    Raises:
        PyrovaeError: Runs that cannot be opened, or cannot be compared.
    """
    from pyrovae.report.figures.comparison import differences

    opened = load_runs(options)
    names = _names(options.runs)
    seen = [run.first(options.num) for run in opened]
    _require_same_data(names, opened, seen)
    runs = dict(zip(names, opened, strict=True))
    models = {name: run.autoencoder for name, run in runs.items()}
    batch = _joined([observed.batch for observed in seen])
    require_comparable(models, batch, ais=options.ais)
    folder = new_folder(options.output, "compare")
    extra = usual_simulations(ais=options.ais)
    announce([(model, batch) for model in models.values()], options, display, extra)
    found = compare(
        models,
        batch,
        samples=options.samples,
        ais=options.ais,
        progress=display.bars,
        computation=Computation(options.compile),
    )
    notes = [*(note for run in opened for note in run.notes), *filter(None, [seen[0].note])]
    notes = [*dict.fromkeys(notes), *found.notes()]
    facts = facts_of(opened[0], found.evaluations[0], options, command)
    table = {name: {"run": str(runs[name].folder), **row} for name, row in _rows(found).items()}
    result = {**facts, "notes": notes, "models": table, "verdicts": found.verdicts()}
    write_json(folder / "comparison.json", result)
    columns = dict(zip(found.names, found.log_prob, strict=True))
    write_csv(folder / "comparison.csv", seen[0], columns)
    differences(found).savefig(folder / "comparison.png")
    display.say(console.comparison(found, opened[0].data.name))
    display.say(console.written(notes, f"{folder}/comparison.json, .csv and .png"))
    return found


def _joined(batches: Sequence[Batch]) -> Batch:
    """The same observations with the variables of all batches: each program takes its own."""
    others = [batch.others for batch in batches]
    return Batch(batches[0].x, {name: batch[name] for batch in others for name in batch})


def _names(folders: Sequence[Path]) -> list[str]:
    """The folders' own names, or all of their paths if two have the same name."""
    names = [folder.resolve().name for folder in folders]
    return names if len(set(names)) == len(names) else [str(folder) for folder in folders]


def _require_same_data(
    names: Sequence[str], opened: Sequence[Run], seen: Sequence[Observations]
) -> None:
    """Refuse runs with different data.

    Raises:
        DataError: Names the difference.
    """
    for name, run, observed in zip(names[1:], opened[1:], seen[1:], strict=True):
        both = f"{names[0]} and {name}"
        if observed.batch.x.equal(seen[0].batch.x):
            first, other = seen[0].batch.others, observed.batch.others
            for key in first.keys() & other.keys():
                if not first[key].equal(other[key]):
                    raise DataError(
                        f"{both} have different values of {key} beside the same x: name with "
                        "--data what both are to be judged on"
                    )
            continue
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


def _rows(found: Comparison) -> dict[str, dict[str, Any]]:
    """Rows of the comparison table."""
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
