"""Statistics of a data set that are compared with those of replicates."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import torch
from torch import Tensor

COLUMNS = 20  # of a table, up to which they are compared one by one, and in pairs
DEFINITIONS = {
    "level": "mean of the values of an observation",
    "contrast": "standard deviation of the values of an observation",
    "maximum": "largest value of an observation",
    "zeros": "share of zeros among the values of an observation",
    "roughness": "mean absolute difference between neighbouring values of an observation",
}
NEGATIVE, SKEWNESS, SPREAD = "share of negative values of ", "skewness of ", "spread of "


class Moments(NamedTuple):
    """Moments of numbers per observation, over a data set; float64 ``(*sets, statistics)``."""

    names: list[str]
    mean: Tensor
    variance: Tensor


class Kind(NamedTuple):
    """Kind of values, which determines the statistics.

    Attributes:
        binary: Zeros and ones only.
        whole: Whole numbers only.
        signed: Columns of a table that are never negative in the data, but in draws.
    """

    binary: bool
    whole: bool
    signed: tuple[int, ...] = ()


def kind_of(x: Tensor, drawn: Tensor) -> Kind:
    """Kind of the values of data, and of draws from the model."""
    negative = [(each < 0).reshape(len(each), -1).any(0).cpu() for each in (x, drawn)]
    signed = (~negative[0] & negative[1]).nonzero().flatten().tolist()
    return Kind(
        binary=all(bool(((each == 0) | (each == 1)).all()) for each in (x, drawn)),
        whole=all(bool((each == each.round()).all()) for each in (x, drawn)),
        signed=tuple(signed) if _is_small_table(x) else (),
    )


def per_datum(x: Tensor, kind: Kind, variable: str = "x") -> dict[str, Tensor]:
    """Numbers ``(data,)`` for observations ``(data, *shape)``, by name; see :func:`definition`.

    Functions of other numbers are left out: of bits there are only mean and roughness. Columns
    of a table have no order, and so no roughness.
    """
    values = x.reshape(len(x), -1).double()
    prefix = "" if variable == "x" else f"{variable}: "
    numbers = {}
    if _is_small_table(x):
        alone = values.shape[1] == 1 and variable != "x"
        names = [variable if alone else f"{variable}[{index}]" for index in range(len(values.mT))]
        numbers = dict(zip(names, values.mT, strict=True))
        for index in kind.signed:
            numbers[f"{NEGATIVE}{names[index]}"] = (values[:, index] < 0).double()
    else:
        numbers[f"{prefix}level"] = values.mean(1)
        if not kind.binary:
            numbers[f"{prefix}contrast"] = values.std(1, correction=0)
            numbers[f"{prefix}maximum"] = values.amax(1)
    if kind.whole and not kind.binary:
        numbers[f"{prefix}zeros"] = (values == 0).double().mean(1)
    if x.ndim > 2 and x.shape[-1] * x.shape[-2] > 1:
        steps = [x.double().diff(dim=dim).abs().flatten(1) for dim in (-1, -2)]
        numbers[f"{prefix}roughness"] = torch.cat(steps, 1).mean(1)
    return numbers


def definition(name: str) -> str:
    """Definition of the number of which a statistic is the mean."""
    if name.startswith(SPREAD):
        inner = name.removeprefix(SPREAD)
        return f"distance of {inner} from its mean over the data ({definition(inner)})"
    if name.startswith(SKEWNESS):
        inner = name.removeprefix(SKEWNESS)
        return f"third power of {inner} less its mean, in its standard deviations"
    return DEFINITIONS.get(number_of(name), name)


def moments(numbers: dict[str, Tensor]) -> Moments:
    """Moments of numbers per observation, of their spreads, of cubes and products of columns.

    The columns of cubes and products are standardised, so that the mean of a cube is the skewness,
    and that of a product a correlation.
    """
    values = dict(numbers)
    spread = [name for name in numbers if not name.startswith(NEGATIVE)]
    columns = [name for name in spread if number_of(name) not in DEFINITIONS]
    for name in spread:
        values[f"{SPREAD}{name}"] = (numbers[name] - numbers[name].mean()).abs()
    standard = {name: _standardised(numbers[name]) for name in columns}
    for name, column in standard.items():
        values[f"{SKEWNESS}{name}"] = column**3
    for first, second in itertools.combinations(columns, 2):
        values[f"correlation of {first} and {second}"] = standard[first] * standard[second]
    table = torch.stack(list(values.values()), 1)
    return Moments(list(values), table.mean(0), table.var(0))


def number_of(name: str) -> str:
    """The part of a name that says which number it is."""
    return name.rpartition(": ")[2]


def _is_small_table(x: Tensor) -> bool:
    return x.ndim <= 2 and math.prod(x.shape[1:]) <= COLUMNS


def _standardised(column: Tensor) -> Tensor:
    """A column less its mean, in standard deviations; zeros if it is constant."""
    scale = column.std(correction=0)
    return (column - column.mean()) / torch.where(scale > 0, scale, 1.0)
