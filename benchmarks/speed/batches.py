"""Batches of rows from data in memory, for all peers that bring no loop of their own."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from problems import Problem
from torch import Tensor


def indices(problem: Problem, device: str) -> Iterator[Tensor]:
    """Which data are in a step: epoch after epoch in random order, for ever."""
    while True:
        yield from torch.randperm(problem.rows, device=device).split(problem.batch)
