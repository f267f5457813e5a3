"""How many codes a decoder sees at once: what bounds memory wherever there are many draws."""

from __future__ import annotations

import torch

# As many as stay in a processor's cache, or as keep a GPU busy; and how many are of one datum.
CODES, CODES_ON_A_GPU = 1000, 50_000
PER_DATUM = 250


def codes(device: torch.device) -> int:
    """Codes at once on a device."""
    return CODES if device.type == "cpu" else CODES_ON_A_GPU


def data(device: torch.device) -> int:
    """Data at once, each with many codes."""
    return max(1, codes(device) // PER_DATUM)


def draws(data: int, total: int, device: torch.device) -> list[int]:
    """Sizes of the chunks in which each of so many data gets its codes; their sum is ``total``."""
    chunk = max(1, codes(device) // data)
    return [min(chunk, total - start) for start in range(0, total, chunk)]
