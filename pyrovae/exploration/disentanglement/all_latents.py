"""Latents of all data with known factors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from pyrovae.compute.distributed import ALONE, Processes
from pyrovae.compute.modes import evaluating
from pyrovae.data import Dataset, KnownFactors, Splits
from pyrovae.errors import DataError
from pyrovae.evaluation.batches import observations
from pyrovae.evaluation.sharing import shared
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
    autoencoder: Autoencoder,
    data: Splits,
    *,
    count: int | None = None,
    progress: bool = False,
    processes: Processes = ALONE,
) -> Codes:
    """Encode the data of all three splits, with their known factors.

    Args:
        autoencoder: Model and guide.
        data: Splits, as loaded or as the model sees them, with known factors.
        count: Number of data, drawn at random; by default all.
        progress: Show a progress bar on stderr.
        processes: The processes that call this together and share the data; all have the result,
            which does not depend on their number.

    Raises:
        DataError: No factors are known.
    """
    data = autoencoder.contract.apply(data)
    names = known_factors(data.train).names
    chosen = _chosen(data, count)
    device = autoencoder.device
    few = observations(data.train, torch.arange(min(2, len(data.train)))).to(device)
    space = LatentSpace(autoencoder, few)
    parts = list(_parts(data, chosen))
    own = sum(len(part.chosen) for part in parts[processes.rank :: processes.size])
    # Filled in place: many small tensors that are kept would hold the memory between them.
    codes = torch.zeros(sum(map(len, chosen)), space.dims)
    with (
        evaluating(autoencoder, device),
        tqdm(total=own, desc="latents", unit=" obs", disable=not progress) as bar,
    ):
        sites = autoencoder.traces(few).latent
        drawn = not torch.equal(means(autoencoder, few, sites), means(autoencoder, few, sites))

        def work(part: _Part) -> None:
            batch = part.split.batch(part.chosen).to(device)
            codes[part.rows] = means(autoencoder, batch, sites)
            bar.update(len(part.chosen))

        shared(parts, work, device, processes)
    processes.add(codes)  # of which each has zeros where another has encoded
    factors = torch.cat([part.factors() for part in parts])
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


class _Part(NamedTuple):
    """Observations of a split by their indices, and their rows among those of all splits."""

    split: Dataset
    chosen: Tensor
    rows: slice

    def factors(self) -> Tensor:
        """Their known factors, ``(data, factors)``."""
        rows = self.split.rows
        return known_factors(self.split).classes[rows[self.chosen.to(rows.device)]].cpu()


def _parts(data: Splits, chosen: list[Tensor]) -> Iterator[_Part]:
    start = 0
    for split, indices in zip(data, chosen, strict=True):
        for index in indices.split(BATCH):
            if len(index):
                yield _Part(split, index, slice(start, start + len(index)))
                start += len(index)
