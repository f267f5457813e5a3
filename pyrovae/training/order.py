"""Order of the observations in an epoch, a function of seed and epoch alone."""

from __future__ import annotations

import torch
from torch import Tensor


def epoch_order(seed: int, epoch: int, count: int) -> Tensor:
    """Permutation of the observations for an epoch, ``(count,)``, by seed and epoch alone.

    An epoch can therefore be entered in the middle, and is the same on every device.
    """
    return torch.randperm(count, generator=_generator(seed, epoch))


def drawn_order(seed: int, epoch: int, probabilities: Tensor) -> Tensor:
    """As many draws with replacement as there are observations, ``(data,)``.

    Given the probabilities, a function of seed and epoch alone: an epoch can therefore be entered
    in the middle.
    """
    count, generator = len(probabilities), _generator(seed, epoch)
    return torch.multinomial(probabilities, count, replacement=True, generator=generator)


def _generator(seed: int, epoch: int) -> torch.Generator:
    """The random stream of an epoch."""
    return torch.Generator().manual_seed((seed << 24) + epoch)
