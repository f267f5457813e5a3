"""Latents of all data with known factors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from pyrovae.compute.modes import evaluating
from pyrovae.data import Dataset, KnownFactors, Splits
from pyrovae.errors import DataError
from pyrovae.evaluation.batches import observations
from pyrovae.exploration.latent_space import LatentSpace
from pyrovae.programs.autoencoder import Autoencoder, means

BATCH = 1000
SEED = 0


class Codes(NamedTuple):
    """Latents of data with known factors.

    Attributes:
        codes: Means of q(z | x), ``(n, dims)`` float32 on the CPU.
        factors: Known factors of the same data, ``(n, factors)`` int64 on the CPU.
        names: Names of the factors.
        dims: Names of the dimensions of the latent, such as ``z[3]``.
        drawn: True if the latents are draws of q(z | x), because no mean is known.
    """

    codes: Tensor
    factors: Tensor
    names: tuple[str, ...]
    dims: list[str]
    drawn: bool


def all_codes(
    autoencoder: Autoencoder, data: Splits, *, count: int | None = None, progress: bool = False
) -> Codes:
    """Encode the data of all three splits, with their known factors.

    Args:
        autoencoder: Model and guide.
        data: Splits, as loaded or as the model sees them, with known factors.
        count: Number of data, drawn at random; by default all.
        progress: Show a progress bar on stderr.

    Raises:
        DataError: No factors are known.
    """
    data = autoencoder.contract.apply(data)
    names = known_factors(data.train).names
    chosen = _chosen(data, count)
    device = autoencoder.device
    few = observations(data.train, torch.arange(min(2, len(data.train)))).to(device)
    space = LatentSpace(autoencoder, few)
    total, start = sum(map(len, chosen)), 0
    # Filled in place: many small tensors that are kept would hold the memory between them.
    codes = torch.empty(total, space.dims)
    factors = torch.empty(total, len(names), dtype=torch.int64)
    with (
        evaluating(autoencoder, device),
        tqdm(total=total, desc="latents", unit=" obs", disable=not progress) as bar,
    ):
        sites = autoencoder.traces(few).latent
        drawn = not torch.equal(means(autoencoder, few, sites), means(autoencoder, few, sites))
        for split, index in _batches(data, chosen):
            rows = slice(start, start + len(index))
            codes[rows] = means(autoencoder, split.batch(index).to(device), sites)
            factors[rows] = known_factors(split).classes[split.rows[index.to(split.rows.device)]]
            start += len(index)
            bar.update(len(index))
    return Codes(codes, factors, names, space.names, drawn)


def known_factors(split: Dataset) -> KnownFactors:
    """The known factors of a split.

    Raises:
        DataError: There are none.
    """
    if split.factors is None:
        raise DataError(
            f"the factors that made {split.name} are not known: choose dsprites, or an .npz file "
            'with integers (data, factors) in an array "factors" beside the data'
        )
    return split.factors


def _chosen(data: Splits, count: int | None) -> list[Tensor]:
    """Indices of the observations of each split to encode, in order."""
    sizes = [len(split) for split in data]
    total = sum(sizes)
    if count is None or count >= total:
        return [torch.arange(size) for size in sizes]
    order = torch.randperm(total, generator=torch.Generator().manual_seed(SEED))
    mask = torch.zeros(total, dtype=torch.bool)
    mask[order[:count]] = True
    return [part.nonzero()[:, 0] for part in mask.split(sizes)]


def _batches(data: Splits, chosen: list[Tensor]) -> Iterator[tuple[Dataset, Tensor]]:
    for split, indices in zip(data, chosen, strict=True):
        for index in indices.split(BATCH):
            if len(index):
                yield split, index
