"""Log-densities computed in float64, where float32 would lose all digits."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import torch
from torch import Tensor


def in_float64(formula: Callable[..., Tensor], *values: Tensor) -> Tensor:
    """Compute ``formula(*values)`` in float64, and return the type of the values.

    Float32 has 7 digits, and at a count of 1e6 the logarithm of its factorial is 1e7, of which a
    log-probability leaves 10: none of its digits would be right.
    """
    dtype = reduce(torch.promote_types, (value.dtype for value in values))
    return formula(*(value.double() for value in values)).to(dtype)
