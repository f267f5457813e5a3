"""What the columns of data are: values x, classes, factors, variables beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pyrovae.data.arrays import as_factors, as_labels
from pyrovae.data.batch import KNOWN
from pyrovae.data.dataset import Dataset, Splits
from pyrovae.data.tables import LABELS
from pyrovae.data.transforms import ALL, with_transforms
from pyrovae.data.values import Array, as_numpy, classes
from pyrovae.data.variables import as_variables
from pyrovae.errors import DataError, SpecError, nearest
from pyrovae.specs.data import DataFile, matching


def others_than_values(
    names: Sequence[str], split: Sequence[str], file: DataFile
) -> tuple[str, ...]:
    """Columns of a table that are not among its values x.

    Args:
        names: Names of all its columns; none of what is no table.
        split: Columns that say how to split.
        file: The data file.

    Raises:
        SpecError: There is no column of a name, or one is among the values and has another role.
    """
    if not names:
        return ()
    others = {
        column: key
        for key, columns in file.spec.roles.items()
        for column in matching(columns, names, f"{file.path}: {key}")
    }
    if not file.spec.columns:
        return tuple(others)
    values = _values(names, file)
    for column, key in {**others, **dict.fromkeys(split, "split")}.items():
        if column in values:
            raise SpecError(
                f"{file.path}: column '{column}' is in columns and in {key}: name it in one of "
                "them"
            )
    return tuple(name for name in names if name not in values)


def with_roles(data: Splits, beside: Mapping[str, Array], file: DataFile) -> Splits:
    """Data whose columns are what a data file says.

    Args:
        data: Data in any parts.
        beside: Columns that are no values, by name.
        file: The data file.

    Raises:
        SpecError: There is no column or array of a name.
        DataError: One cannot be what it is said to be.
    """

    def changed(part: Dataset) -> Dataset:
        if file.spec.columns:
            part = part.selected(_values(part.columns, file))
        part = replace(part, **_others(part, beside, file))
        return with_transforms(part, _by_column(part, file))

    return data.each(changed)


def _values(names: Sequence[str], file: DataFile) -> tuple[str, ...]:
    return matching(file.spec.columns, names, f"{file.path}: columns")


def named(where: str, name: str, data: Dataset, beside: Mapping[str, Array]) -> Array:
    """Values of a column or array that a key names, of all observations as they are stored.

    Args:
        where: The key.
        name: The name.
        data: The data.
        beside: Columns that are no values, by name.

    Raises:
        DataError: There is none.
    """
    variables, labels = data.variables, data.labels
    if name in beside:
        return beside[name]
    if name in variables:
        return as_numpy(variables[name])
    if name in LABELS and labels is not None:
        return as_numpy(labels)
    names = [*beside, *variables, *(LABELS[1:] if labels is not None else ())]
    raise DataError(
        f"{where} = '{name}': {data.name} has no column or array of that name; "
        + (nearest(name, names) if names else "give a table or an .npz file that has it")
    )


def _others(data: Dataset, beside: Mapping[str, Array], file: DataFile) -> dict[str, Any]:
    """Classes, factors and variables of all stored observations."""
    n, name = len(data.x), data.name

    def column(key: str, column: str) -> Array:
        return named(f"{file.path}: {key}", column, data, beside)

    found: dict[str, Any] = {}
    if file.spec.labels is not None:
        where = f"{name}: column {file.spec.labels}"
        found["labels"] = as_labels(classes(column("labels", file.spec.labels), where), n, name)
    if file.spec.factors:
        columns = [
            classes(column("factors", factor), f"{name}: column {factor}")
            for factor in file.spec.factors
        ]
        found["factors"] = as_factors(np.stack(columns, 1), file.spec.factors, n, name)
    if file.spec.variables:
        arrays: dict[str, Array] = {}
        for variable in file.spec.variables:
            arrays |= _with_mask(variable, column("variables", variable), name)
        found["variables"] = {**data.variables, **as_variables(arrays, n, name)}
    return found


def _with_mask(variable: str, values: Array, name: str) -> dict[str, Array]:
    """A variable, strings as classes; if values are missing, with a mask of those that are known.

    Raises:
        DataError: It holds neither numbers nor strings.
    """
    if values.dtype.kind != "O":
        return {variable: values}
    known = np.array([value is not None for value in values])
    there = np.asarray(values[known].tolist())
    if there.dtype.kind == "U":
        there = classes(there, variable)
    if there.dtype.kind not in "biuf":
        raise DataError(
            f"{name}: column {variable} holds neither numbers nor strings: leave it out"
        )
    filled = np.zeros(len(values), there.dtype)
    filled[known] = there
    return {variable: filled} if known.all() else {variable: filled, variable + KNOWN: known}


def _by_column(data: Dataset, file: DataFile) -> dict[str, str]:
    """Transforms by column, or of all values.

    Raises:
        SpecError: There is no such column, or two are of one column.
    """
    if [*file.spec.transforms] == [ALL]:
        return {**file.spec.transforms}
    found: dict[str, str] = {}
    for pattern, name in file.spec.transforms.items():
        for column in matching([pattern], data.columns, f"{file.path}: transforms"):
            if column in found:
                raise SpecError(f"{file.path}: transforms has two functions of column '{column}'")
            found[column] = name
    return found
