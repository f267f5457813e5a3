"""Binarisation of grey values: by threshold, by one fixed draw, or by a fresh draw per batch."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any, assert_never, get_args

import torch
from torch import Tensor

from pyrovae.data.dataset import Binarisation, Dataset, Splits
from pyrovae.data.sources import CHUNK, Source, chunks_of
from pyrovae.errors import DataError

SEED = 0
"""Fixed, so that static data are the same bits on every device and in every run."""


def binarise(splits: Splits, kind: Binarisation) -> Splits:
    """Replace intensities by bits in what the model sees.

    ``"threshold"`` sets a bit where the intensity reaches half the maximum. The two random kinds
    read the intensity as a probability, ``intensity / maximum``: ``"static"`` draws once, with a
    fixed seed, ``"dynamic"`` in every :meth:`~pyrovae.data.dataset.Dataset.batch`. Data that are
    bits already are returned as they are.

    Args:
        splits: Data with a largest intensity.
        kind: ``"none"``, ``"threshold"``, ``"static"`` or ``"dynamic"``.

    Returns:
        The same rows; a store that was shared stays shared.

    Raises:
        DataError: If there is no such kind, or the data are real-valued.

    References:
        Salakhutdinov and Murray (2008), *On the Quantitative Analysis of Deep Belief Networks*.
    """
    if kind not in get_args(Binarisation):
        kinds = ", ".join(get_args(Binarisation))
        raise DataError(f'binarisation "{kind}" is unknown: choose one of {kinds}')
    if kind == "none" or are_bits(splits):
        return splits
    match kind:
        case "dynamic":
            return Splits(
                *(replace(s, maximum=largest(s, kind), binarisation=kind) for s in splits)
            )
        case "threshold":
            return with_bits(splits, kind, threshold)
        case "static":
            generator = torch.Generator().manual_seed(SEED)
            return with_bits(splits, kind, functools.partial(draw, generator))
        case _:
            assert_never(kind)


def with_bits(
    splits: Splits, kind: Binarisation, to_bits: Callable[[Any, float], Tensor | Source]
) -> Splits:
    """Replace stores by bits, each store only once however many splits share it."""
    once = functools.cache(to_bits)
    return Splits(
        *(
            replace(
                split,
                x=once(split.x, largest(split, kind)),
                maximum=1.0,
                binarisation=kind,
                divisor=1.0,
                offset=0.0,
            )
            for split in splits
        )
    )


def largest(split: Dataset, kind: Binarisation) -> float:
    """Largest intensity of a split, without which it cannot be binarised."""
    if split.maximum is None:
        raise DataError(
            f'binarisation "{kind}" of {split.name} needs intensities between 0 and a maximum, '
            f'but its values are real-valued: choose "none"'
        )
    return split.maximum


def are_bits(splits: Splits) -> bool:
    """Return True if every stored value is 0 or 1."""
    return all(split.maximum == 1 for split in splits) and all(
        x.dtype == torch.uint8
        or all(bool(((part == 0) | (part == 1)).all()) for part in chunks_of(x))
        for x in {split.x for split in splits}  # tensors are told apart by identity
    )


def threshold(x: Tensor | Source, maximum: float) -> Tensor | Source:
    """Bits ``x >= maximum / 2``, uint8 of the shape of ``x``."""
    if isinstance(x, Source):
        return x.changed(lambda rows: (rows >= maximum / 2).to(torch.uint8))
    return in_chunks(lambda chunk: chunk >= maximum / 2, x)


def draw(generator: torch.Generator, x: Tensor | Source, maximum: float) -> Tensor:
    """One Bernoulli draw with probability ``x / maximum``, uint8 of the shape of ``x``.

    Drawn and compared on the CPU, where the same seed gives the same bits on every machine.

    Raises:
        DataError: The observations are not in memory, where the bits would have to be kept.
    """
    if isinstance(x, Source):
        raise DataError(
            'binarisation "static" keeps one draw of all data, and these are not in memory: '
            'choose "dynamic" or "threshold", or save the bits'
        )
    return in_chunks(
        lambda chunk: torch.rand(chunk.shape, generator=generator) < chunk.cpu() / maximum, x
    )


def in_chunks(to_bits: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Apply ``to_bits`` chunk by chunk: no more memory than the store and its bits."""
    bits = torch.empty(x.shape, dtype=torch.uint8, device=x.device)
    for target, chunk in zip(torch.split(bits, CHUNK), torch.split(x, CHUNK), strict=True):
        target.copy_(to_bits(chunk))
    return bits
