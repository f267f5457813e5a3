"""Passes over a split, batch by batch; nothing here changes the random stream."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from pyrovae.compute.modes import EVALUATION_SEED
from pyrovae.compute.randomness import seeded
from pyrovae.data import Batch, Dataset
from pyrovae.errors import DataError
from pyrovae.programs.arguments import require_autoencoder, split_of
from pyrovae.programs.autoencoder import Autoencoder
from pyrovae.programs.given_values import as_observations

BATCH = 500


def batches(data: Dataset, device: torch.device, size: int = BATCH) -> Iterator[Batch]:
    """All the data in order, as the model sees them, batch by batch on a device."""
    for index in torch.arange(len(data), device=data.rows.device).split(size):
        yield data.batch(index).to(device)


def observations(data: Dataset, index: Tensor) -> Batch:
    """Observations ``(len(index), *shape)``; random bits, if any, are always the same."""
    with seeded(EVALUATION_SEED, data.x.device):
        return data.batch(index)


def batch_of(call: str, autoencoder: Autoencoder, data: Any) -> Batch:
    """The observations to look at, on the autoencoder's device; of splits the test data.

    Args:
        call: The function with its arguments in order, such as ``traverse(vae, data)``.
        autoencoder: Model and guide.
        data: A batch, a tensor, or what :func:`pyrovae.programs.arguments.split_of` takes.

    Raises:
        SpecError: The first argument is no autoencoder.
        DataError: There are no data, or they are of another kind or shape.
    """
    require_autoencoder(call, autoencoder)
    if isinstance(data, Tensor):  # of the type that it has: programs by hand may want integers
        data = Batch(as_observations(call, data, autoencoder.shape, data, axes=1))
    if not isinstance(data, Batch):
        split = split_of(call, autoencoder, data)
        data = observations(split, torch.arange(len(split)))
    if not len(data):
        raise DataError(f"{call}: there are no data: give at least one observation")
    return data.to(autoencoder.device)
