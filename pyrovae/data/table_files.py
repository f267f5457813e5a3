"""Tables in ``.csv`` and ``.parquet`` files, read by pandas; every failure is one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pyrovae.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

INDEX = "Unnamed: 0"
"""Name that pandas gives to an index that was written to a ``.csv`` file."""


def read_frame(path: Path) -> pd.DataFrame:
    """Read a ``.csv`` or ``.parquet`` file, without an index that is in it.

    Raises:
        DataError: The file cannot be read, or begins with numbers and not with names.
    """
    import pandas as pd

    try:
        if path.suffix.lower() == ".parquet":
            return pd.read_parquet(path)
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
    return frame.drop(columns=INDEX, errors="ignore")


def _require_names(first_line: pd.DataFrame, path: Path) -> None:
    """Refuse a first line of numbers, which would be lost; but not 0, 1, ... of pandas."""
    names = first_line.dropna(axis=1)  # the name of an index is empty
    found = names.iloc[0].tolist()
    if all(dtype.kind in "if" for dtype in names.dtypes) and found != list(range(len(found))):
        raise DataError(f"{path} begins with numbers: put a line with names of the columns first")
