"""Specification of a program by hand: its file, and the arguments of the object in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli_w

from pyrovae.specs.base import read_toml


@dataclass(frozen=True)
class ProgramSpec:
    """A Python file that defines ``model`` and ``guide``.

    Attributes:
        file: The file.
        arguments: Arguments by name of the class that defines both, if one does.
    """

    file: Path
    arguments: dict[str, Any] = field(default_factory=dict)

    def to_toml(self) -> str:
        """The arguments as TOML."""
        return tomli_w.dumps(self.arguments)


def read_arguments(file: Path) -> dict[str, Any]:
    """Arguments as written by :meth:`ProgramSpec.to_toml`; none if there is no file.

    Raises:
        SpecError: It is not a TOML file.
    """
    return read_toml(file) if file.is_file() else {}
