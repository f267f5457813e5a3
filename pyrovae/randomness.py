"""Random streams of one's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """A random stream from a seed, on the CPU and ``device``; the caller's is left as it was.

    Example:
        >>> before = torch.get_rng_state()
        >>> with seeded(7):
        ...     first = torch.rand(2)
        >>> with seeded(7):
        ...     bool((torch.rand(2) == first).all())
        True
        >>> bool((torch.get_rng_state() == before).all())
        True
    """
    device = torch.device(device)
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(seed)
        if devices:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield
