"""Arithmetic in fewer bits than float32, on request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from pyrovae.errors import SpecError
from pyrovae.specs.computation import Precision


def check_precision(precision: Precision, device: torch.device) -> None:
    """Refuse a precision that the device does not have.

    Raises:
        SpecError: Names the precision and what to choose.
    """
    if precision == "tf32" and device.type != "cuda":
        raise SpecError(
            f"--precision tf32 is for NVIDIA GPUs, and the device is {device.type}; "
            "choose float32 or bf16"
        )


@contextmanager
def networks_in(precision: Precision, networks: Sequence[nn.Module]) -> Iterator[None]:
    """Run networks in bfloat16 if requested; their outputs are float32.

    Layers multiply in bfloat16 (``torch.autocast``) and weights, gradients, distributions and
    log-densities stay as they are: a sum over 784 pixels in 7 bits would be good for nothing.
    """
    if precision != "bf16":
        yield
        return
    with ExitStack() as hooks:
        for network in networks:
            for handle in _autocast(network):
                hooks.callback(handle.remove)
        yield


def _autocast(network: nn.Module) -> list[Any]:
    """Hooks that enable bfloat16 before a network runs, and disable it afterwards."""
    entered: list[torch.autocast] = []

    def enter(module: nn.Module, inputs: Any) -> None:
        device = next(module.parameters()).device.type
        # Nothing is kept between layers: it would be of another trace.
        entered.append(torch.autocast(device, torch.bfloat16, cache_enabled=False).__enter__())

    def leave(module: nn.Module, inputs: Any, output: Any) -> Any:
        entered.pop().__exit__(None, None, None)
        return tree_map(lambda t: t.float() if isinstance(t, Tensor) else t, output)

    return [
        network.register_forward_pre_hook(enter),
        network.register_forward_hook(leave, always_call=True),
    ]


@contextmanager
def tf32(precision: Precision) -> Iterator[None]:
    """Allow TF32 on a GPU if, and only if, requested; torch's defaults are mixed.

    References:
        `TF32 <https://docs.pytorch.org/docs/stable/notes/cuda.html>`_ in torch's notes.
    """
    backends: Any = torch.backends
    matmul, cudnn = backends.cuda.matmul, backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = precision == "tf32"
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before
