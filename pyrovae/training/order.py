"""The order in which an epoch takes the data: a function of seed and epoch alone."""

from __future__ import annotations

import torch
from torch import Tensor


def epoch_order(seed: int, epoch: int, count: int) -> Tensor:
    """The order of the data in an epoch, ``(count,)``: a function of seed and epoch alone.

    So that an epoch can be entered in the middle, and is the same on every device.
    """
    generator = torch.Generator().manual_seed((seed << 24) + epoch)
    return torch.randperm(count, generator=generator)


def drawn_order(seed: int, epoch: int, probabilities: Tensor) -> Tensor:
    """As many draws with replacement as there are data, ``(data,)``.

    Given the probabilities, a function of seed and epoch alone, so that an epoch can be entered
    in the middle.
    """
    generator = torch.Generator().manual_seed((seed << 24) + epoch)
    return torch.multinomial(
        probabilities, len(probabilities), replacement=True, generator=generator
    )
