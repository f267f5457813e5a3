"""The device that a run asks for."""

from __future__ import annotations

import torch

from pyrovae.errors import SpecError


def choose_device(name: str) -> torch.device:
    """The device that "auto", "cpu" or "cuda" stands for.

    Raises:
        SpecError: "cuda" on a machine without a GPU.
    """
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise SpecError(
            "--device cuda: torch finds no GPU on this machine; choose --device cpu or auto"
        )
    return torch.device("cuda" if name == "cuda" or (name == "auto" and available) else "cpu")
