"""Chunk sizes that bound memory when many latents are decoded."""

from __future__ import annotations

import torch

# As many as stay in a processor's cache, or as keep a GPU busy; and how many are of one datum.
CODES, CODES_ON_A_GPU = 1000, 50_000
PER_DATUM = 250


def codes(device: torch.device) -> int:
    """Number of latents decoded at once on a device."""
    return CODES if device.type == "cpu" else CODES_ON_A_GPU


def data(device: torch.device) -> int:
    """Number of observations at once, each with many latents."""
    return max(1, codes(device) // PER_DATUM)


def draws(data: int, total: int, device: torch.device) -> list[int]:
    """Sizes of the chunks in which latents are drawn; their sum is ``total``."""
    chunk = max(1, codes(device) // data)
    return [min(chunk, total - start) for start in range(0, total, chunk)]
