"""Threads for the size of the work."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

# Multiplications in a product of matrices below which a second thread saves less than the two of
# them lose by waiting for each other; much less, if other programs run on the machine.
SMALL = 2**23


@contextmanager
def enough_threads(parameters: Iterable[Tensor], rows: int) -> Iterator[None]:
    """One thread, if all products of matrices are small; as many as before, if not.

    The choice depends on the work and not on the machine's load, so that sums are in the same
    order whenever the same run is repeated.

    Args:
        parameters: Those of linear layers are matrices; a convolution has more axes, uses its
            parameters many times, and is never small.
        rows: Rows that a layer sees at once.
    """
    before = torch.get_num_threads()
    small = all(each.ndim <= 2 and each.numel() * rows <= SMALL for each in parameters)
    torch.set_num_threads(1 if small else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
