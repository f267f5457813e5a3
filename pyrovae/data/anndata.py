"""AnnData: matrices of cells and genes with their names.

Objects are known by their attributes: anndata itself is not imported.

References:
    Virshup et al. (2024), *anndata: Access and store annotated data matrices*, Journal of Open
    Source Software 9(101), 4371.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np

from pyrovae.data.arrays import Content
from pyrovae.data.from_reader import from_reader
from pyrovae.data.readers import ArrayRows, MappedRows, SlicedRows, WholeRows
from pyrovae.data.sources import IN_MEMORY, Reader, rows_at_once
from pyrovae.data.sparse import CompressedRows, compressed
from pyrovae.data.tables import LABELS
from pyrovae.data.values import Array, classes
from pyrovae.errors import DataError, nearest

Value = TypeVar("Value")

OBJECT = "AnnData"
"""Name of an object in memory, in messages."""

MAIN, RAW = "X", "raw"
"""Names of the matrix itself, and of the one that was kept from before genes were chosen."""

FEW = 1000
"""Rows by which it is seen whether another layer holds counts."""


class ByName(Mapping[str, Value]):
    """Values that are made when they are asked for.

    Args:
        names: Their names.
        make: Makes the value of a name.
    """

    def __init__(self, names: list[str], make: Callable[[str], Value]) -> None:
        self._names, self._make = names, make

    def __getitem__(self, name: str) -> Value:
        if name not in self._names:
            raise KeyError(name)
        return self._make(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class Annotated(NamedTuple):
    """Matrices of the same observations.

    Attributes:
        name: Name of the data in messages and reports.
        matrices: Matrices by the name of their layer, ``X`` and ``raw`` among them.
        columns: Names of the columns, by the name of the layer.
        obs: Further columns by name, a value for each observation.
    """

    name: str
    matrices: Mapping[str, Any]
    columns: Callable[[str], tuple[str, ...]]
    obs: Mapping[str, Array]


class Chosen(NamedTuple):
    """One of the matrices.

    Attributes:
        rows: Its rows; whole numbers if it holds counts, in whatever type.
        columns: Names of its columns.
        counts: If it holds real values: the layers with counts, as the end of a message.
        name: Name of the data and of the layer.
    """

    rows: Reader
    columns: tuple[str, ...]
    counts: str
    name: str


def is_anndata(data: Any) -> bool:
    """True for an AnnData object; anndata itself need not be imported."""
    return all(hasattr(data, name) for name in ("X", "layers", "obs", "var", "obs_names"))


def of_object(adata: Any) -> Annotated:
    """The matrices of an AnnData object."""
    raw = getattr(adata, RAW, None)
    places: dict[str, Any] = {} if adata.X is None else {MAIN: adata}
    places |= ({} if raw is None else {RAW: raw}) | dict.fromkeys(adata.layers, adata)

    def matrix(name: str) -> Any:
        return places[name].layers[name] if name in adata.layers else places[name].X

    def columns(name: str) -> tuple[str, ...]:
        return tuple(map(str, places[name].var_names))

    def column(name: str) -> Array:
        values = adata.obs[name]
        return values.astype(object).where(values.notna(), None).to_numpy()

    obs = ByName([str(key) for key in adata.obs], column)
    return Annotated(OBJECT, ByName(list(places), matrix), columns, obs)


def chosen(data: Annotated, layer: str | None) -> Chosen:
    """One of the matrices, ``X`` by default.

    Raises:
        DataError: There is none of the name, or it cannot be read.
    """
    wanted = MAIN if layer is None else layer
    if wanted not in data.matrices:
        raise DataError(f"{data.name} has no layer '{wanted}'; {nearest(wanted, data.matrices)}")
    name = data.name if layer is None else f"{data.name}:{layer}"
    columns = data.columns(wanted)
    if twice := len(columns) - len({*columns}):
        raise DataError(
            f"{data.name}: {twice} names of genes are those of others as well: make them unique, "
            "as by adata.var_names_make_unique()"
        )
    rows = rows_of(data.matrices[wanted], name)
    if rows.dtype.kind != "f":
        return Chosen(rows, columns, "", name)
    if is_whole(rows):
        return Chosen(WholeRows(rows), columns, "", name)
    return Chosen(rows, columns, _counts_elsewhere(data, wanted), name)


def content(data: Annotated, layer: str | None, labels: Any = None) -> Content:
    """The observations of a layer, dense in memory up to 1 GiB, else as they lie.

    Args:
        data: The matrices.
        layer: Name of the layer, ``X`` by default.
        labels: Classes; by default the column ``label`` or ``labels`` of ``obs``.
    """
    rows, columns, counts, name = chosen(data, layer)
    labels = _labels(data.obs) if labels is None else labels
    return rows_content(rows, labels, name, columns)._replace(beside=data.obs, counts=counts)


def rows_content(rows: Reader, labels: Any, name: str, columns: tuple[str, ...] = ()) -> Content:
    """Observations that are sparse or in a file, dense in memory up to 1 GiB."""
    if not fits_in_memory(rows):
        return Content(from_reader(rows, labels, name=name, columns=columns), name)
    values = {"x": dense(rows), "labels": labels, "columns": columns}
    if isinstance(rows, WholeRows):
        values["maximum"] = max(float(values["x"].max(initial=0)), 1.0)
    return Content(values, name)


def fits_in_memory(rows: Reader) -> bool:
    """True for rows that are in memory, or are held there when they are dense."""
    inner = rows.rows if isinstance(rows, WholeRows) else rows
    return isinstance(inner, ArrayRows) or 4 * int(np.prod(rows.shape)) <= IN_MEMORY


def dense(rows: Reader) -> Array:
    """All rows as an array, whole numbers in the type in which they are stored."""
    inner = rows.rows if isinstance(rows, WholeRows) else rows
    return inner.array if isinstance(inner, ArrayRows) else inner.read(np.arange(rows.shape[0]))


def rows_of(matrix: Any, name: str) -> Reader:
    """The rows of a matrix, dense or sparse, in memory or not."""
    if (sparse := compressed(matrix, name)) is not None:
        return CompressedRows(sparse, name)
    if isinstance(matrix, np.memmap):
        return MappedRows(matrix)
    return ArrayRows(matrix) if isinstance(matrix, np.ndarray) else SlicedRows(matrix, name)


def is_whole(rows: Reader, most: int | None = None) -> bool:
    """True if all values are whole numbers from 0 on; looks at the first ``most`` rows."""
    if isinstance(rows, CompressedRows) and most is None:  # zeros are whole
        values = rows.values
        return all(_counts(values[i : i + 2**22]) for i in range(0, values.shape[0], 2**22))
    size, n = rows_at_once(rows.shape[1:]), min(rows.shape[0], most or rows.shape[0])
    parts = (rows.read(np.arange(i, min(i + size, n))) for i in range(0, n, size))
    return all(_counts(part) for part in parts)


def _counts(values: Array) -> bool:
    return bool(((values >= 0) & (values == np.floor(values)) & np.isfinite(values)).all())


def _counts_elsewhere(data: Annotated, layer: str) -> str:
    """Layers that seem to hold counts, for the end of a message about one that does not."""
    others = [
        name
        for name in data.matrices
        if name != layer and is_whole(rows_of(data.matrices[name], data.name), FEW)
    ]
    if not others:
        return ""
    given = f"layer='{others[0]}'" if data.name == OBJECT else f"{data.name}:{others[0]}"
    names = ", ".join(f"'{name}'" for name in others)
    return f"; layer '{layer}' holds real values, and {names} counts: give {given}"


def _labels(obs: Mapping[str, Array]) -> Array | None:
    """The classes, if there are any."""
    name = next((name for name in LABELS if name in obs), None)
    return None if name is None else classes(obs[name], f"obs['{name}']")
