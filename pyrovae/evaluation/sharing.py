"""Work on parts of the data, which several processes share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from pyrovae.compute.distributed import Processes
from pyrovae.compute.modes import EVALUATION_SEED
from pyrovae.compute.randomness import reseed

Part = TypeVar("Part")
Result = TypeVar("Result")


def shared(
    parts: Sequence[Part],
    work: Callable[[Part], Result],
    device: torch.device,
    processes: Processes,
) -> list[Result]:
    """Results of all parts of the data, of which each process does every N-th.

    A part has a random stream that is a function of its place. So the results do not depend on
    the number of processes.

    Args:
        parts: Parts of the data, at least one, the same in all processes.
        work: Gives the result of a part, with tensors on the CPU.
        device: Device of the random stream, beside the CPU.
        processes: The processes that call this together; all have the results.

    Raises:
        PyrovaeError: Whatever the work raises, in all processes.
    """

    def share() -> list[Result]:
        own = []
        for place in range(processes.rank, len(parts), processes.size):
            reseed(device, EVALUATION_SEED, place)
            own.append(work(parts[place]))
        return own

    found = processes.gather(processes.together(share))
    return [found[place % processes.size][place // processes.size] for place in range(len(parts))]
