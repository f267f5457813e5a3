"""The data of a run, or others in their place, as they are stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pyrovae.data import Splits, load_data, paths
from pyrovae.data.contract import matched
from pyrovae.data.named import is_no_path
from pyrovae.data.transforms import require_same
from pyrovae.errors import DataError
from pyrovae.runs.facts import RunFacts, announce_data
from pyrovae.runs.request import recorded_split
from pyrovae.specs.split import Split


def own_or_other(
    folder: Path,
    facts: RunFacts,
    data: str | Path | None,
    data_root: str | Path | None,
) -> Splits:
    """The data of a run as stored; or others, if they are named.

    Raises:
        DataError: The data are missing, or do not fit the model.
    """
    source = facts.data.source if data is None else str(data)
    if data is None and not is_no_path(source) and not paths.exists(source):
        raise DataError(
            f"the data of {folder}, {source}, are no longer there: put them back, or name them "
            "with --data"
        )
    split = recorded_split(folder, facts) if data is None else None
    if data is None:
        root = facts.data.root if data_root is None else data_root
        announce_data(folder, source, root, () if split is None else split.files)
    return of_its_shape(folder, facts, source, data_root, split)


def of_its_shape(
    folder: Path,
    facts: RunFacts,
    source: str,
    data_root: str | Path | None,
    split: Split | None = None,
) -> Splits:
    """Data with the columns, in the shape and of the transforms that a run was fitted to.

    Raises:
        DataError: They have others.
    """
    root = facts.data.root if data_root is None else data_root
    stored = load_data(source, split=split, root=root)
    require_same(stored.train, facts.data.transforms, str(folder))
    splits = matched(stored, facts.data.columns)
    shape, fitted = splits.train.shape, facts.data.shape
    if tuple(shape) != fitted:
        raise DataError(
            f"{splits.name} has observations of shape {_spelled(shape)}, and {folder} was fitted "
            f"to observations of shape {_spelled(fitted)}: choose data of that shape"
        )
    return splits


def differences(
    facts: RunFacts, seen: Splits, fingerprint: str, *, chosen: bool
) -> tuple[str, ...]:
    """Differences from the data that the model was fitted to."""
    known, levels = facts.data, seen.train.levels
    if fingerprint == known.fingerprint:
        return ()
    notes = [
        f"the model was fitted to other data, {known.source}; these are {seen.name}"
        if chosen
        else f"{seen.name} has changed since the model was fitted to it"
    ]
    if levels != known.levels:
        notes.append(
            f"the largest value in {seen.name} is {_largest(levels)}, and in the data that the "
            f"model was fitted to {_largest(known.levels)}"
        )
    return tuple(notes)


def _largest(levels: float | None) -> str:
    return "not known" if levels is None else f"{levels:g}"


def _spelled(shape: Any) -> str:
    return " × ".join(map(str, shape))
