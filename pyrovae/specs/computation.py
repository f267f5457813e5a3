"""How the arithmetic is carried out. What is computed does not depend on it. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Compile = Literal["auto", "on", "off"]
Precision = Literal["float32", "tf32", "bf16"]


@dataclass(frozen=True)
class Computation:
    """How the arithmetic is carried out.

    Attributes:
        compile: Whether the programs are captured as one graph, which is compiled: "on" wherever
            that is possible, "off" never, "auto" where it pays, which a short run does not.
        precision: Of the networks; log-densities are in float32 whatever it is. "tf32" and "bf16"
            have 10 and 7 bits of mantissa instead of 23.
    """

    compile: Compile = "auto"
    precision: Precision = "float32"
