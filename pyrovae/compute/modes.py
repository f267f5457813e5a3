"""Evaluation mode, which leaves programs and Pyro's parameter store unchanged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pyro
import torch
from torch import nn

from pyrovae.compute.randomness import seeded

EVALUATION_SEED = 1


@contextmanager
def in_mode(training: bool, *programs: Any) -> Iterator[None]:
    """Put modules among programs, or whose methods they are, in a mode; undone at the end."""
    roots = [getattr(program, "__self__", program) for program in programs]
    modules = [m for root in roots if isinstance(root, nn.Module) for m in root.modules()]
    modes = [(module, module.training) for module in modules]
    for module in modules:
        module.training = training
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def evaluation_mode(*programs: Any) -> AbstractContextManager[None]:
    """As :func:`in_mode`, in evaluation mode."""
    return in_mode(False, *programs)


@contextmanager
def evaluating(autoencoder: nn.Module, device: torch.device | str = "cpu") -> Iterator[None]:
    """Evaluation mode, no gradients, a random stream of its own; all undone at the end."""
    with (
        not_in_store(autoencoder),
        evaluation_mode(autoencoder),
        torch.no_grad(),
        seeded(EVALUATION_SEED, device),
        pyro.validation_enabled(False),
    ):
        yield


@contextmanager
def not_in_store(autoencoder: nn.Module) -> Iterator[None]:
    """Take the parameters out of Pyro's store again, which would keep them for ever."""
    store = pyro.get_param_store()
    before = set(store.keys())
    try:
        yield
    finally:
        own = {id(parameter) for parameter in autoencoder.parameters()}
        for name, value in list(store.named_parameters()):
            if name not in before and id(value) in own:
                del store[name]
