"""Several optimiser steps at once on a GPU, as one CUDA graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pyrovae.compute.randomness import set_stream_state, stream_state
from pyrovae.training.step import Step

# Enough for their launch to cost little, and few enough for an interruption not to wait long.
STEPS = 16
WARM_UPS = 3


class Replay:
    """Optimiser steps recorded as a CUDA graph and replayed with other data.

    The kernels of a step of a small VAE take less time than Python needs to launch them. A replay
    launches them all at once, for each of the steps: gathering the data, drawing bits, loss,
    gradients, clipping, update and sums.

    Args:
        step: Step to record, with an optimiser that may be recorded. Recording leaves its tensors
            unchanged.
        size: Batch size.
        count: Number of steps at once.
        record: Runs a function and returns one that repeats it; by default a CUDA graph.

    Attributes:
        data: Number of observations in a replay.

    References:
        `CUDA graphs <https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs>`_ in
        torch's notes.
    """

    def __init__(
        self,
        step: Step,
        size: int,
        count: int = STEPS,
        record: Callable[[Callable[[], None]], Callable[[], None]] | None = None,
    ) -> None:
        self.count = count
        self.data = size * count
        self._step = step
        self._index = torch.arange(self.data, device=step.device) % len(step.data)
        self._settings = step.settings.repeat(count, 1)
        before, random = _copies(step), stream_state(step.device)
        seen = step.tally.count
        self._again = (record or _cuda_graph)(self._run)
        with torch.no_grad():
            for tensor, value in before:
                tensor.copy_(value)
        step.tally.count = seen
        set_stream_state(random, step.device)

    def __call__(self, index: Tensor, settings: list[tuple[float, float, float]]) -> None:
        """Take the steps.

        Args:
            index: Indices of the observations of all steps, one after the other, ``(data,)``.
            settings: Settings of each step.
        """
        self._index.copy_(index)
        self._settings.copy_(torch.tensor(settings), non_blocking=True)
        tally = self._step.tally
        seen = tally.count
        self._again()
        tally.count = seen + self.data  # not part of the graph
        self._step.written = settings[-1]

    def _run(self) -> None:
        for index, settings in zip(self._index.chunk(self.count), self._settings, strict=True):
            self._step.settings.copy_(settings)
            self._step(index)


def _cuda_graph(run: Callable[[], None]) -> Callable[[], None]:
    """Record on a separate stream, after warm-up runs that allocate memory."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UPS):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    again: Any = graph.replay
    return again


def _copies(step: Step) -> list[tuple[Tensor, Tensor]]:
    """Every tensor that a step writes, with a copy of its values."""
    return [(tensor, tensor.clone()) for tensor in step.tensors()]
