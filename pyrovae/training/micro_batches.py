"""Micro-batches: parts of a batch that go through the programs one after the other."""

from __future__ import annotations

from pyrovae.compute.distributed import Processes
from pyrovae.specs import InferenceSpec


def micro_batches(count: int, spec: InferenceSpec, processes: Processes) -> list[int]:
    """Sizes of the parts in which a process sees its ``count`` observations of a batch.

    All have the same size, but for the last: that of a whole batch's share over
    ``inference.accumulate``, rounded up.

    Example:
        >>> micro_batches(10, InferenceSpec(batch_size=10, accumulate=3), Processes())
        [4, 4, 2]
    """
    share = -(-spec.batch_size // processes.size)
    size = -(-share // spec.accumulate)
    return [size] * (count // size) + ([count % size] if count % size else [])
