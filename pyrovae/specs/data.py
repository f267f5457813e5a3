"""Keys of a data file: where data lie, what their columns are, their split. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from pyrovae.errors import SpecError, nearest, short
from pyrovae.specs.base import Spec, read_toml
from pyrovae.specs.files import validate
from pyrovae.specs.own import NAME
from pyrovae.specs.split import Split

TransformName = Literal["log", "log1p", "logit", "sqrt"]

Names = Annotated[tuple[str, ...], Field(strict=False)]


class DataSpec(Spec):
    """What a data file says of data.

    Columns are named by themselves or by patterns such as ``gene_*``. Without ``columns``, the
    values x are all columns that have no other role.

    Attributes:
        source: Name, path or function of the data; a path is from the file's folder.
        columns: The values x, in this order.
        labels: The classes.
        factors: Known factors of variation.
        variables: What programs may take as arguments beside x.
        transforms: Functions of values x, by column; "*" is all.
        split: A split of one's own, by key; paths are from the file's folder.
    """

    section: ClassVar[str] = "data"

    source: str
    columns: Names = ()
    labels: str | None = None
    factors: Names = ()
    variables: Names = ()
    transforms: dict[str, TransformName] = Field(default_factory=dict)
    split: dict[str, Any] | None = None

    @property
    def roles(self) -> dict[str, tuple[str, ...]]:
        """Columns that are no values x, by the key that names them."""
        labels = () if self.labels is None else (self.labels,)
        return {"labels": labels, "factors": self.factors, "variables": self.variables}


def is_data_file(source: Any) -> bool:
    """True for the path of a data file.

    Example:
        >>> is_data_file("wells.toml"), is_data_file("wells.csv")
        (True, False)
    """
    return isinstance(source, str | Path) and Path(source).suffix.lower() == ".toml"


@dataclass(frozen=True)
class DataFile:
    """A data file that was read.

    Attributes:
        path: Its path as it was given.
        spec: What it says.
    """

    path: str
    spec: DataSpec

    @classmethod
    def read(cls, source: str | Path) -> DataFile:
        """Read a data file.

        Raises:
            SpecError: There is none, or it has keys or values that are not allowed; a sentence
                each.
        """
        path = Path(source).expanduser()
        if not path.is_file():
            raise SpecError(f"there is no file '{short(str(source), 200)}'")
        return cls(str(source), validate(read_toml(path), DataSpec, str(source)))

    @property
    def folder(self) -> Path:
        """The folder that its paths are from."""
        return Path(self.path).expanduser().absolute().parent

    @property
    def source(self) -> str:
        """The source that it names, a path from the root of the file system."""
        source = self.spec.source
        path, key = path_and_key(source)
        there = self.folder / path
        is_name = key is None and bool(re.fullmatch(rf"\w+|{NAME.pattern}", source))
        if is_name and not there.exists():
            return source
        return str(there) if key is None else f"{there}:{key}"

    @property
    def split(self) -> Split | None:
        """The split that it says, if any.

        Raises:
            SpecError: It is none.
        """
        if self.spec.split is None:
            return None
        try:
            return Split.of(self.spec.split).placed(self.folder)
        except SpecError as error:
            raise SpecError(f"{self.path}: {error}") from None


def path_and_key(source: str | Path) -> tuple[Path, str | None]:
    """Take ``file.npz:key`` and the like apart; a path of another kind has no key."""
    kinds = r"(.*?\.(?:npz|h5|hdf5|h5ad|zarr)):(.*)"
    found = re.fullmatch(kinds, str(source), re.IGNORECASE | re.DOTALL)
    if found:
        return Path(found[1]).expanduser(), found[2]
    return Path(source).expanduser(), None


def matching(patterns: Sequence[str], names: Sequence[str], where: str) -> tuple[str, ...]:
    """Names that are given or fit a pattern, in the order of the patterns, each once.

    Example:
        >>> matching(["age", "gene_*"], ["gene_b", "gene_a", "age"], "wells.toml: columns")
        ('age', 'gene_b', 'gene_a')

    Raises:
        SpecError: A pattern fits no name, or there are none.
    """
    found: dict[str, None] = {}
    if patterns and not names:
        raise SpecError(f"{where}: the data have no names of columns: leave it out")
    for pattern in patterns:
        fits = [pattern] if pattern in names else [n for n in names if fnmatchcase(n, pattern)]
        if not fits:
            raise SpecError(f"{where}: there is no column '{pattern}'; {nearest(pattern, names)}")
        found |= dict.fromkeys(fits)
    return tuple(found)
