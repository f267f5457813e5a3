"""Blocks of steps inside a training loop that knows nothing of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple


class Block(NamedTuple):
    """Steps done in one go, and the seconds they took."""

    steps: int
    seconds: float


class Clock:
    """Holds up a training loop between blocks of steps, and times it in between.

    A loop calls :meth:`reached` after its steps. Each time a block is full, that call does not
    return until ``between`` does.

    Args:
        steps: In a block.
        between: Told of each block; waits until the next may start.
        synchronise: Waits for a device to finish.
    """

    def __init__(
        self,
        steps: int,
        between: Callable[[Block], None],
        synchronise: Callable[[], None] = lambda: None,
    ) -> None:
        self.steps = steps
        self._between = between
        self._synchronise = synchronise
        self._begin(0)

    def reached(self, step: int) -> None:
        """So many steps are done since the loop began."""
        if step >= self._end:
            self._synchronise()
            self._between(Block(step - self._first, time.perf_counter() - self._started))
            self._begin(step)

    def _begin(self, step: int) -> None:
        self._first, self._end = step, step + self.steps
        self._started = time.perf_counter()
