"""Tables in ``.csv`` and ``.parquet`` files, read by pandas; every failure is one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pyrovae.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

INDEX = "Unnamed: 0"
"""Name that pandas gives to an index that was written to a ``.csv`` file."""

PLACES = ["index", "row"]
"""Columns in front of results: place of an observation in its split, and in the stored data."""


def read_frame(path: Path) -> pd.DataFrame:
    """Read a ``.csv`` or ``.parquet`` file, without an index or places of results in it.

    Raises:
        DataError: The file cannot be read, or begins with numbers and not with names.
    """
    import pandas as pd

    try:
        if path.suffix.lower() == ".parquet":
            return _data(pd.read_parquet(path))
        first_line = pd.read_csv(path, header=None, nrows=1)
        frame = pd.read_csv(path)
    except ImportError:
        raise DataError(
            f"{path} cannot be read: pandas needs pyarrow for parquet; pip install pyarrow, or "
            "give a .csv file"
        ) from None
    except Exception as error:  # damage may make the readers of pandas raise anything
        why = str(error).strip().partition("\n")[0]
        raise DataError(
            f"{path} cannot be read ({why}): save it again as a table with a line of names"
        ) from error
    _require_names(first_line, path)
    _require_rows(frame, path)
    return _data(frame.drop(columns=INDEX, errors="ignore"))


def _data(frame: pd.DataFrame) -> pd.DataFrame:
    """The table without places, if the file is one that ``reconstruct`` wrote."""
    is_result = list(frame.columns[:2]) == PLACES and are_places(frame)
    return frame.drop(columns=PLACES) if is_result else frame


def are_places(frame: pd.DataFrame) -> bool:
    """True if the first column counts the rows."""
    return list(frame.iloc[:, 0]) == list(range(len(frame)))


def _require_rows(frame: pd.DataFrame, path: Path) -> None:
    """Refuse rows that commas do not part into as many values as there are names, and no rows."""
    import pandas as pd

    if not isinstance(frame.index, pd.RangeIndex) or any(
        sign in str(frame.columns[0]) for sign in ";\t" if len(frame.columns) == 1
    ):  # pandas takes values without a name for an index
        raise DataError(
            f"{path}: its rows are not one value for each name: part values by commas, and write "
            "numbers with points, as in 1.5,2.5"
        )
    if not len(frame):
        raise DataError(f"{path} has no rows below its line of names: give one for each datum")


def _require_names(first_line: pd.DataFrame, path: Path) -> None:
    """Refuse a first line of numbers, which would be lost; but not 0, 1, ... of pandas."""
    names = first_line.dropna(axis=1)  # the name of an index is empty
    found = names.iloc[0].tolist()
    if all(dtype.kind in "if" for dtype in names.dtypes) and found != list(range(len(found))):
        raise DataError(f"{path} begins with numbers: put a line with names of the columns first")
