"""Memory that training an autoencoder takes, before any is taken."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from pyrovae.errors import SpecError

LARGE = 1000
"""Sizes from which on it is worth a look."""

COPIES = 4
"""Weights, their gradients, and the two moments of the optimiser."""


def require_memory(build: Callable[[], nn.Module], sizes: Any) -> None:
    """Refuse networks whose training does not fit into the memory of this machine.

    They are built on torch's device "meta", where tensors have no content. Normalizing flows
    cannot be, and are not looked at.

    Args:
        build: Builds them.
        sizes: Sizes in trees of values; networks of small ones are not looked at.

    Raises:
        SpecError: They are too large.
    """
    if _largest(sizes) < LARGE:
        return
    try:
        with torch.device("meta"):
            parameters = sum(value.numel() for value in build().parameters())
    except NotImplementedError:
        return
    except RuntimeError:  # a tensor beyond all measure
        parameters = 2**62
    there = _memory()
    needed = COPIES * torch.finfo(torch.get_default_dtype()).bits // 8 * parameters
    if needed > there:
        raise SpecError(
            f"the networks have {parameters:.2g} parameters, whose training takes "
            f"{needed / 1e9:.0f} GB, and this machine has {there / 1e9:.0f}: choose a smaller "
            "latent_dim, widths, components or levels"
        )


def _largest(sizes: Any) -> int:
    """The largest whole number in a tree of values."""
    if isinstance(sizes, dict):
        return max(map(_largest, sizes.values()), default=0)
    if isinstance(sizes, (list, tuple)):
        return max(map(_largest, sizes), default=0)
    return sizes if isinstance(sizes, int) else 0


def _memory() -> int:
    """Bytes of memory of the machine."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
