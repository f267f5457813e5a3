"""Capture and compilation of a function of tensors that is called many times."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from pyrovae.compute.capture import Captured, CaptureError, capture
from pyrovae.specs.computation import Computation

# Calls with inputs of one shape after which they have taken about as long as a compilation
# does: so whatever is still to come, at most half of the time is lost, and much may be gained.
PAYS = 1000
# The same where it is decided beforehand: compilations of up to four shapes, of which each halves
# the time of its calls.
PAYS_BEFOREHAND = 8 * PAYS


def decided(computation: Computation | None, calls: int) -> Computation:
    """Options in which "auto" is "on" or "off", by the number of calls in all processes.

    So what is computed for a part of the data is the same to the last bit, whichever process does
    it, and whatever that has done before.

    Args:
        computation: Options of compilation and precision.
        calls: Calls of a function, about.
    """
    found = computation or Computation()
    if found.compile != "auto":
        return found
    return replace(found, compile="on" if calls >= PAYS_BEFOREHAND else "off")


class CompiledOnDemand:
    """A function of tensors, captured and compiled for the shapes that come up often.

    It is called as it is until that has happened so many times that a compilation is worth it.
    Calls are counted and no clock is looked at: the same calls always go the same way. Results
    are the same but for rounding, and random numbers are as well.

    Args:
        function: Of tensors of which each has data or draws as its first dimension, or none at
            all; and of other things, by keyword, for each of which there is a graph. Returns
            tensors.
        state: Whose parameters and buffers it may read; see
            :func:`pyrovae.compute.capture.capture`.
        computation: Whether to capture: "on" does from the first call on.

    Attributes:
        obstacle: Why the function goes on as it is; None as long as nothing stands in the way.
    """

    def __init__(
        self,
        function: Callable[..., Sequence[Tensor]],
        state: nn.Module,
        computation: Computation | None = None,
    ) -> None:
        compile = (computation or Computation()).compile
        self.obstacle = "it is not wished for" if compile == "off" else None
        self._function = function
        self._state = state
        self._pays = 1 if compile == "on" else PAYS
        self._calls: Counter[Hashable] = Counter()
        self._captured: dict[Hashable, Captured] = {}

    @property
    def captured(self) -> list[Captured]:
        """The graphs captured so far."""
        return list(self._captured.values())

    def __call__(self, *tensors: Tensor, **others: Any) -> Sequence[Tensor]:
        """The function's output, without a gradient."""
        inputs = [tensor.detach().contiguous() for tensor in tensors]
        function = partial(self._function, **others)
        if self.obstacle is not None:
            return function(*inputs)
        kind = (*((i.shape, i.dtype, i.device) for i in inputs), *others.items())
        self._calls[kind] += 1
        if self._calls[kind] == self._pays:
            self._capture(kind, function, inputs)
        return self._captured.get(kind, function)(*inputs)

    def _capture(
        self, kind: Hashable, function: Callable[..., Sequence[Tensor]], inputs: list[Tensor]
    ) -> None:
        others = [_other(tensor) for tensor in inputs]
        # Of the same data twice, it would not be seen that something was made a constant.
        if any(a.ndim and a.equal(b) for a, b in zip(inputs, others, strict=True)):
            return
        try:
            self._captured[kind] = capture(function, self._state, inputs, others).compiled(inputs)
        except CaptureError as error:
            self.obstacle = str(error)


def _other(tensor: Tensor) -> Tensor:
    """Inputs as valid as these, in another order and with other sums; a scalar is halved."""
    if not tensor.ndim:
        return tensor / 2
    return torch.cat([tensor[-1:], tensor[:-2], tensor[:1]])[: len(tensor)]
