"""The variables of the data that a program takes, by the names of its parameters."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Signature:
    """The parameters of a program, such as ``model(x, y=None)``.

    The observations go to the parameter ``x``, or to the first one if none has that name; every
    other parameter gets the variable of its name. One with a default may be left out.

    Attributes:
        observations: Name of the parameter that takes the observations.
        required: Names of the other parameters without a default.
        optional: Names of those with one.
        takes_all: True if the program takes any further variable, as ``**others``.
    """

    observations: str
    required: tuple[str, ...]
    optional: tuple[str, ...]
    takes_all: bool

    @classmethod
    def of(cls, program: Callable[..., Any]) -> Signature:
        """Read the signature of a program.

        Raises:
            ValueError: The program takes no argument.
        """
        named, takes_all = [], False
        for parameter in inspect.signature(program).parameters.values():
            if parameter.kind is parameter.VAR_KEYWORD:
                takes_all = True
            elif parameter.kind is not parameter.VAR_POSITIONAL:
                named.append(parameter)
        if not named:
            raise ValueError("it takes no argument")
        names = [parameter.name for parameter in named]
        observations = "x" if "x" in names else names[0]
        others = [parameter for parameter in named if parameter.name != observations]
        return cls(
            observations,
            tuple(p.name for p in others if p.default is p.empty),
            tuple(p.name for p in others if p.default is not p.empty),
            takes_all,
        )

    def __str__(self) -> str:
        """The parameters as in a call."""
        return ", ".join([self.observations, *self.others])

    @property
    def others(self) -> tuple[str, ...]:
        """Names of the parameters other than that of the observations."""
        return self.required + self.optional

    def variables(self, known: Collection[str]) -> list[str]:
        """Names of the variables that the program takes, of those that the data have."""
        if self.takes_all:
            return list(known)
        return [*self.required, *(name for name in self.optional if name in known)]

    def arguments(self, variables: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The variables that the program takes, by the names of its parameters."""
        others = self.variables(variables)
        taken = {name: variables[name] for name in others if name in variables and name != "x"}
        return {self.observations: variables["x"], **taken}
