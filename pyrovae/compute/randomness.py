"""Random streams with a seed of their own."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


def stream_state(device: torch.device) -> dict[str, Tensor]:
    """States of the random streams of the CPU and of ``device``."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def set_stream_state(state: dict[str, Tensor], device: torch.device) -> None:
    """Restore random streams; one that the state does not hold is left as it is."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)


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
        _seed(seed, device)
        yield


def reseed(device: torch.device, *key: int) -> None:
    """Begin the random streams of the CPU and of ``device`` anew, as a function of numbers."""
    digest = hashlib.sha256(repr(key).encode()).digest()
    _seed(int.from_bytes(digest[:4], "big"), device)  # torch uses 32 bits of a seed on the CPU


def _seed(seed: int, device: torch.device) -> None:
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
