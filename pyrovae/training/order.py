"""Order of the observations in an epoch, a function of seed and epoch alone."""

from __future__ import annotations

import torch
from torch import Tensor


def epoch_order(seed: int, epoch: int, count: int) -> Tensor:
    """Permutation of the observations for an epoch, ``(count,)``, by seed and epoch alone.

    So that an epoch can be entered in the middle, and is the same on every device.
    """
    generator = torch.Generator().manual_seed((seed << 24) + epoch)
    return torch.randperm(count, generator=generator)


def drawn_order(seed: int, epoch: int, probabilities: Tensor) -> Tensor:
    """As many draws with replacement as there are observations, ``(data,)``.

    Given the probabilities, a function of seed and epoch alone, so that an epoch can be entered
    in the middle.
    """
    generator = torch.Generator().manual_seed((seed << 24) + epoch)
    return torch.multinomial(
        probabilities, len(probabilities), replacement=True, generator=generator
    )
