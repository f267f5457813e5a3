"""Files of results, of a format that their ending names. Imports neither torch nor NumPy."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from pyrovae.errors import SpecError
from pyrovae.runs.atomic_files import replaced

if TYPE_CHECKING:
    import pandas as pd

    from pyrovae.data.values import Array

FORMATS = (".csv", ".parquet", ".npy", ".npz")
PARQUET = ("pyarrow", "fastparquet")  # what pandas writes it with
SHOWN = 8  # names of columns in a sentence


def require_new(output: Path | None) -> None:
    """Refuse a file that is there, or whose format is not known or cannot be written.

    Raises:
        SpecError: It is such a file.
    """
    if output is None:
        return
    if output.suffix.lower() not in FORMATS:
        raise SpecError(f"--output {output}: end the name in one of {', '.join(FORMATS)}")
    if output.exists():
        raise SpecError(f"--output {output}: is there already; name another file")
    if output.suffix.lower() == ".parquet" and not any(map(find_spec, PARQUET)):
        raise SpecError(
            f"--output {output}: pandas needs pyarrow for parquet; pip install pyarrow, or name a "
            ".csv file"
        )


def require_writable(folder: Path) -> None:
    """Refuse a folder that cannot be made or written to, before the work.

    Raises:
        SpecError: It is such a folder.
    """
    place = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not os.access(place, os.W_OK):
        raise SpecError(f"{place} cannot be written to: name another place with --output")


@dataclass(frozen=True)
class Results:
    """Arrays with a row for each observation.

    Attributes:
        array: The principal one, ``(rows, ...)``: all that an ``.npy`` file holds.
        arrays: All arrays by name, each ``(rows, ...)``, as in an ``.npz`` file.
        names: Names of the columns of some of them; by default ``x[0,3,4]`` of an array ``x``.
    """

    array: Array
    arrays: Mapping[str, Array]
    names: Mapping[str, list[str]] = field(default_factory=dict)

    def table(self) -> pd.DataFrame:
        """One row for each observation, as in a ``.csv`` or ``.parquet`` file."""
        import pandas as pd

        return pd.concat(
            [
                pd.DataFrame(
                    array.reshape(len(array), -1),
                    columns=self.names.get(name) or _columns(name, array),
                )
                for name, array in self.arrays.items()
            ],
            axis=1,
        )

    def write(self, file: Path) -> str:
        """Write a file atomically, in the format of its ending, and say what is in it."""
        import numpy as np

        file.parent.mkdir(parents=True, exist_ok=True)
        with replaced(file) as temporary, temporary.open("wb") as opened:
            match file.suffix.lower():
                case ".npy":
                    np.save(opened, self.array)
                    return f"an array {self.array.shape} of {self.array.dtype}"
                case ".npz":
                    arrays: Any = self.arrays
                    np.savez_compressed(opened, **arrays)
                    return ", ".join(f"{name} {a.shape}" for name, a in self.arrays.items())
                case _:
                    return self._write_table(opened, csv=file.suffix.lower() == ".csv")

    def _write_table(self, opened: BinaryIO, *, csv: bool) -> str:
        table = self.table()
        if csv:
            table.to_csv(opened, index=False)
        else:
            table.to_parquet(opened, index=False)
        names = list(table.columns)
        if len(names) > SHOWN:
            names[SHOWN - 2 : -1] = ["..."]
        return f"{len(table)} rows, {table.shape[1]} columns: {', '.join(names)}"


def _columns(name: str, array: Array) -> list[str]:
    """The name, or that of each value of an observation, such as ``x[0,3,4]``."""
    import numpy as np

    if array.ndim == 1:
        return [name]
    return [f"{name}[{','.join(map(str, place))}]" for place in np.ndindex(array.shape[1:])]
