"""The variables that a program takes, by the names of its parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from pyrovae.programs.signature import Signature

X, Y, DOSE = (torch.full((2,), value) for value in (1.0, 2.0, 3.0))


@pytest.mark.parametrize(
    ("program", "variables"),
    [
        (lambda x: None, []),
        (lambda data: None, []),
        (lambda xs, y: None, ["y"]),
        (lambda y, x: None, ["y"]),
        (lambda x, dose=None, missing=None: None, ["dose"]),
        (lambda x, *, y=None: None, ["y"]),
        (lambda x, **others: None, ["y", "dose"]),
    ],
)
def test_every_parameter_gets_the_variable_of_its_name(
    program: Callable[..., Any], variables: list[str]
) -> None:
    data = {"x": X, "y": Y, "dose": DOSE}
    signature = Signature.of(program)
    assert signature.variables(["y", "dose"]) == variables
    given = signature.arguments(data)
    assert given.pop(signature.observations) is X
    assert given == {name: data[name] for name in variables}
    program(**signature.arguments(data))


def test_a_program_without_arguments_cannot_be_used() -> None:
    with pytest.raises(ValueError, match="no argument"):
        Signature.of(lambda: None)
