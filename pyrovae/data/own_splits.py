"""Splits of one's own: by fractions, groups, classes, a column, rows, or three sources."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyrovae.data.arrays import Content
from pyrovae.data.dataset import Splits
from pyrovae.data.npz import open_npz, read_member
from pyrovae.data.roles import named
from pyrovae.data.sources import CHUNK, Source
from pyrovae.data.splitting import Rows, balanced_rows, fraction_rows
from pyrovae.data.tables import is_frame
from pyrovae.data.values import Array, as_numpy
from pyrovae.errors import DataError
from pyrovae.specs.split import PARTS, Split

logger = logging.getLogger("pyrovae")

LEAST = 0.01
"""Smallest share of held-out data that are training data as well, of which is warned."""

SYNONYMS = {"training": "train", "val": "validation", "valid": "validation"}


def resplit(data: Splits, split: Split, beside: Mapping[str, Array]) -> Splits:
    """The same data in other parts.

    Args:
        data: All the data, in parts that share a store.
        split: The split, other than by three sources.
        beside: Columns that are no values, by name, a value for each observation.

    Raises:
        DataError: A name or a row that is not there, or a part without observations.
    """
    name, count = data.name, len(data.train.x)

    def column(key: str) -> Array | None:
        given = getattr(split, key)
        return None if given is None else _column(key, given, data, beside)

    if split.rows is not None:
        rows = _given_rows(split.rows, count, name)
    elif (named := column("column")) is not None:
        rows = _named_rows(named, split.column, name)
    elif split.group is None and split.stratify is None:
        rows = fraction_rows(count, split.fractions)
    else:
        rows = balanced_rows(count, split.fractions, column("group"), column("stratify"))
    return in_parts(data, rows)


def three_sources(
    sources: Sequence[Content], apart: Sequence[str] = ()
) -> tuple[Splits, Mapping[str, Array]]:
    """Training, validation and test data, each from a source of its own, and columns apart.

    Args:
        sources: The three.
        apart: Names of columns of tables that are no values.

    Raises:
        DataError: They are not three tables with the same columns, or three arrays of one shape
            with the same arrays beside them.
    """
    first, *others = sources
    if all(is_frame(source.values) for source in sources):
        import pandas as pd

        whole, sizes = first.values, [len(source.values) for source in sources]
        for other in others:
            _require_same(first, other, {*map(str, whole)}, {*map(str, other.values)}, "columns")
        whole = pd.concat([source.values for source in sources], ignore_index=True)
    elif all(isinstance(source.values, Mapping) for source in sources):
        flat = [_flat(source.values) for source in sources]
        sizes = [len(part["x"]) for part in flat]
        for other, part in zip(others, flat[1:], strict=True):
            _require_same(first, other, {*flat[0]}, {*part}, "arrays")
            if other.values.get("columns", ()) != first.values.get("columns", ()):
                raise DataError(
                    f"{first.name} and {other.name} do not have the same columns in the same "
                    "order: bring all three to one order"
                )
            for key, values in part.items():
                if values.shape[1:] != flat[0][key].shape[1:]:
                    raise DataError(
                        f"{other.name}: {key} has shape {values.shape}, and that of {first.name} "
                        f"{flat[0][key].shape}: give three sources with observations of one shape"
                    )
        joined = {key: np.concatenate([part[key] for part in flat]) for key in flat[0]}
        own = {key: joined.pop(key) for key in ("x", "labels", "factors") if key in joined}
        names = first.values.get("factor_names")
        kept = {key: first.values[key] for key in ("columns",) if key in first.values}
        highest = [source.values.get("maximum") for source in sources]
        if None not in highest:
            kept["maximum"] = max(highest)
        whole = {**own, **kept, "factor_names": names, "variables": joined}
    else:
        kinds = ", ".join(source.name for source in sources)
        raise DataError(
            f"{kinds} are not of one kind, or are not in memory: give three tables or three "
            "arrays of at most 1 GiB each"
        )
    data, beside = Content(whole, first.name, counts=first.counts).splits(apart)
    return in_parts(data, Rows(*torch.arange(sum(sizes)).split(sizes))), beside


def in_parts(data: Splits, rows: Rows) -> Splits:
    """The same data with these rows in the parts.

    Raises:
        DataError: A part is empty.
    """
    for part, chosen in zip(PARTS, rows, strict=True):
        if not len(chosen):
            raise DataError(
                f"{data.name}: the split leaves no {part} data: give larger fractions, smaller "
                "groups, or name rows for it"
            )
    return Splits(*(replace(data.train, rows=part) for part in rows))


def warn_of_duplicates(data: Splits) -> None:
    """Say which share of the validation and of the test data are training data as well.

    Data that stay where they lie are not compared: all of them would be read.
    """
    store = data.train.x
    if isinstance(store, Source):
        return

    def digests(rows: Tensor) -> list[int]:
        return [
            hash(x.tobytes()) for index in rows.split(CHUNK) for x in store[index].cpu().numpy()
        ]

    seen = set(digests(data.train.rows))
    for part, split in zip(PARTS[1:], data[1:], strict=True):
        share = np.mean([digest in seen for digest in digests(split.rows)])
        if share >= LEAST:
            logger.warning(
                "%s: %.0f %% of the %s data are in the training data as well, value for value: "
                "what is held out is partly known",
                data.name,
                100 * share,
                part,
            )


def _flat(arguments: Mapping[str, Any]) -> dict[str, Array]:
    """Arrays by name, of arguments of :func:`~pyrovae.data.arrays.from_arrays`."""
    own = {key: arguments.get(key) for key in ("x", "labels", "factors")}
    found = {**(arguments.get("variables") or {}), **own}
    return {key: as_numpy(values) for key, values in found.items() if values is not None}


def _require_same(
    first: Content, other: Content, ours: set[str], theirs: set[str], what: str
) -> None:
    if ours != theirs:
        raise DataError(
            f"{first.name} and {other.name} do not have the same {what}: "
            f"{', '.join(sorted(ours ^ theirs))} is in one of them alone; give it to all three"
        )


def _column(key: str, given: Any, data: Splits, beside: Mapping[str, Array]) -> Array:
    """Values of a named column or array, or of an array that is given, one for each observation.

    Raises:
        DataError: There is none, it has another length, or values are missing.
    """
    if not isinstance(given, str):
        found = np.asarray(as_numpy(given) if isinstance(given, Tensor) else given)
    else:
        found = named(f"split.{key}", given, data.train, beside)
    if found.shape != (len(data.train.x),):
        raise DataError(
            f"split.{key} has shape {found.shape}, and {data.name} has {len(data.train.x)} "
            "observations: give one value for each"
        )
    missing = np.array([value is None or value != value for value in found.tolist()])
    if missing.any():
        raise DataError(
            f"split.{key}: the value of row {missing.argmax()} of {data.name} is missing: fill it "
            "in"
        )
    return np.unique(found.astype(str), return_inverse=True)[1] if key != "column" else found


def _named_rows(named: Array, column: Any, name: str) -> Rows:
    words = np.array([SYNONYMS.get(str(word), str(word)) for word in named.tolist()])
    wrong = sorted({*words.tolist()} - {*PARTS})
    if wrong:
        where = f"column '{column}'" if isinstance(column, str) else "split.column"
        raise DataError(f"{name}: {where} holds '{wrong[0]}': give train, validation or test")
    return Rows(*(torch.from_numpy(np.flatnonzero(words == part)) for part in PARTS))


def _given_rows(given: Any, count: int, name: str) -> Rows:
    """Rows of a file or a dictionary.

    Raises:
        DataError: A part is missing, or a row is none, or in two parts.
    """
    where = "split.rows"
    if isinstance(given, str | Path):
        where, path = f"split.rows, {given}", Path(given).expanduser()
        with open_npz(path) as archive:
            given = {key: read_member(archive, key, path) for key in archive.files}
    if not isinstance(given, Mapping) or {*given} != {*PARTS}:
        held = ", ".join(map(str, given)) if isinstance(given, Mapping) else type(given).__name__
        raise DataError(f"{where} holds {held}: give arrays of rows named {', '.join(PARTS)}")
    found = [np.asarray(as_numpy(given[part])) for part in PARTS]
    for part, rows in zip(PARTS, found, strict=True):
        if rows.ndim != 1 or rows.dtype.kind not in "iu":
            raise DataError(
                f"{where}: {part} has shape {rows.shape} and type {rows.dtype}: give the numbers "
                "of rows, from 0 on"
            )
        if rows.size and (rows.min() < 0 or rows.max() >= count):
            wrong = rows.min() if rows.min() < 0 else rows.max()
            raise DataError(
                f"{where}: {part} has row {wrong}, and {name} has rows 0 to {count - 1}"
            )
    together, times = np.unique(np.concatenate(found), return_counts=True)
    if (times > 1).any():
        raise DataError(
            f"{where}: row {together[times.argmax()]} is named {times.max()} times: name each once"
        )
    return Rows(*(torch.from_numpy(rows.astype(np.int64)) for rows in found))
