"""Compilation and precision, which do not change what is computed. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from pyrovae.errors import SpecError, nearest

Compile = Literal["auto", "on", "off"]
Precision = Literal["float32", "tf32", "bf16"]


@dataclass(frozen=True)
class Computation:
    """Options of compilation and precision.

    Attributes:
        compile: Capture of the programs as one graph, and its compilation: "on" wherever possible,
            "off" never, "auto" in runs long enough to benefit.
        precision: Precision of the networks; log-densities are always in float32. "tf32" and
            "bf16" have 10 and 7 bits of mantissa instead of 23.

    Raises:
        SpecError: A value is none of these.
    """

    compile: Compile = "auto"
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        for name, kind in {"compile": Compile, "precision": Precision}.items():
            value, choices = getattr(self, name), get_args(kind)
            if value not in choices:
                raise SpecError(f"Computation: {name} = {value!r}; {nearest(str(value), choices)}")
