"""Values given in Python to the methods of an autoencoder: arrays and lists, as tensors."""

from __future__ import annotations

import math
import numbers
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints

from pyrovae.data import Dataset, Splits
from pyrovae.data.batch import X_KNOWN
from pyrovae.data.values import as_numbers
from pyrovae.errors import DataError, SpecError


def as_observations(
    where: str, x: Any, shape: Sequence[int] | None, parameter: Tensor, *, axes: int | None = None
) -> Tensor:
    """Data as a tensor of the parameters' type, on their device.

    Args:
        where: Name of the method, which begins a message.
        x: Tensor, array or list of numbers, ``(*batch, *shape)``.
        shape: Shape of an observation of the model, if it is known.
        parameter: A parameter of the model.
        axes: Number of axes of a batch, if it is not any.

    Raises:
        DataError: These are no numbers, or have another shape.
    """
    if isinstance(x, Splits | Dataset) or hasattr(x, "iloc"):
        raise DataError(
            f"{where}: a {type(x).__name__} is given, where an array or a tensor of values as the "
            "model sees them is taken: embed(...) takes a split or a DataFrame, and returns the "
            "means of q(z | x)"
        )
    values = as_values(where, x, parameter)
    if shape is None:
        return values
    batch = values.ndim - len(shape)
    if values.shape[max(batch, 0) :] != tuple(shape) or (axes is not None and batch != axes):
        raise DataError(
            f"{where}: data of shape {tuple(values.shape)}, and the model was fitted to "
            f"{tuple(shape)}: give ({', '.join(['data', *map(str, shape)])})"
        )
    return values


def as_latents(where: str, z: Any, latent_dim: int, parameter: Tensor) -> Tensor:
    """Latents ``(*batch, latent_dim)`` as a tensor of the parameters' type, on their device.

    Raises:
        DataError: These are no numbers, or have another length.
    """
    values = as_values(where, z, parameter)
    if values.shape[-1:] != (latent_dim,):
        raise DataError(
            f"{where}: latents of shape {tuple(values.shape)}, and the model has {latent_dim} "
            f"latent dimensions: give (data, {latent_dim})"
        )
    return values


def as_values(where: str, values: Any, parameter: Tensor) -> Tensor:
    """Numbers as a tensor of the parameters' type, on their device.

    Raises:
        DataError: These are no numbers.
    """
    return (values if isinstance(values, Tensor) else as_numbers(where, values)).to(parameter)


def as_variable(name: str, value: Any, parameter: Tensor) -> Any:
    """A variable or a latent of a program by hand: of real numbers the parameters' type."""
    numeric = value if isinstance(value, Tensor) else as_numbers(name, value)
    return numeric.to(parameter if numeric.is_floating_point() else parameter.device)


def as_known(x_known: Any, x: Tensor) -> Tensor | None:
    """A mask of known values as booleans on the device of the data, if there is one."""
    if x_known is None:
        return None
    return as_values(X_KNOWN, x_known, x).bool()


def check_scale(x: Tensor, support: Any, levels: float | None) -> None:
    """Refuse values beyond the bounds of p(x | z), and warn of values that seem to be rescaled.

    Args:
        x: Values of an array that a user gave.
        support: Support of p(x | z), if it is known.
        levels: Largest intensity that the model sees; None for real-valued data.

    Raises:
        DataError: Names a value that no datum of the model can have.
    """
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    bits = support is constraints.boolean
    least = 0.0 if bits else getattr(support, "lower_bound", -math.inf)
    most = 1.0 if bits else getattr(support, "upper_bound", math.inf)
    least, most = float(torch.as_tensor(least).min()), float(torch.as_tensor(most).max())
    smallest, largest = x.min().item(), x.max().item()
    if smallest < least or largest > most:
        raise DataError(
            f"the array has the value {smallest if smallest < least else largest:g}, and p(x | z) "
            f"takes values from {least:g} to {most:g}: give data on the scale of those that the "
            "model was fitted to"
        )
    if levels is not None and largest <= 1 < levels and (x != x.round()).any():
        warnings.warn(
            f"all values of the array are at most {largest:g}, and the model was fitted to values "
            f"from 0 to {levels:g}: if they were divided, give them as they were",
            stacklevel=4,
        )


def as_count(where: str, count: Any, of: str = "observations", least: int = 1) -> int:
    """A number of observations or others.

    Raises:
        SpecError: It is no whole number, or less than ``least``.
    """
    if not isinstance(count, numbers.Integral) or isinstance(count, bool) or count < least:
        raise SpecError(
            f"{where}: the number of {of} is {count!r}: give a whole number, {least} or more"
        )
    return int(count)


def all_numbers(values: Any) -> bool:
    """True for a list, or another sequence, of real numbers alone."""
    return isinstance(values, Sequence) and all(isinstance(v, numbers.Real) for v in values)
