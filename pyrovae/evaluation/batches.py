"""Passes over a split, batch by batch; nothing here changes the random stream."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from pyrovae.compute.modes import EVALUATION_SEED
from pyrovae.compute.randomness import seeded
from pyrovae.data import Batch, Dataset

BATCH = 500


def batches(data: Dataset, device: torch.device, size: int = BATCH) -> Iterator[Batch]:
    """All the data in order, as the model sees them, batch by batch on a device."""
    for index in torch.arange(len(data), device=data.rows.device).split(size):
        yield data.batch(index).to(device)


def observations(data: Dataset, index: Tensor) -> Batch:
    """Observations ``(len(index), *shape)``; random bits, if any, are always the same."""
    with seeded(EVALUATION_SEED, data.x.device):
        return data.batch(index)
