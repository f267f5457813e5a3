"""Start of a wider or deeper network at the function of a smaller one."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pyrovae.parts.families.abstract import Head
from pyrovae.parts.networks import ConvDecoder, ConvEncoder, MLPDecoder, MLPEncoder

Layer = nn.Linear | nn.Conv2d


@torch.no_grad()
def widen(module: nn.Module, smaller: Mapping[str, Tensor]) -> list[str]:
    """Put the layers of a smaller network into those of a larger one, as the same function.

    Hidden units that are new have inputs at random, and nothing takes from them yet. A hidden
    layer that is new passes on what it gets: as it is where the activation is "relu", which leaves
    alone what is positive, and nearly so with others.

    Args:
        module: A module of which networks and heads may be wider, or have more layers.
        smaller: State of the smaller one, by the same names.

    Returns:
        Names of the parameters that hold a smaller one.

    References:
        Chen, Goodfellow and Shlens (2016), *Net2Net: Accelerating Learning via Knowledge
        Transfer*, arXiv:1511.05641.
    """
    held: list[str] = []
    for name, part in module.named_modules():
        if isinstance(part, MLPEncoder | MLPDecoder | ConvEncoder | ConvDecoder):
            held += _widen_network(name, part, smaller)
        elif isinstance(part, Head):
            weight = smaller.get(f"{name}.weight")
            if weight is not None and len(weight) == part.out_features:
                held += _hold(name, part, smaller)
    return held


def _widen_network(prefix: str, network: nn.Module, smaller: Mapping[str, Tensor]) -> list[str]:
    """Widen the layers of a network, and have new ones pass on what they get."""
    held: list[str] = []
    width = 0
    for name, layer in network.named_modules(prefix=prefix):
        if not isinstance(layer, nn.Linear | nn.Conv2d):
            continue
        if f"{name}.weight" in smaller:
            held += _hold(name, layer, smaller)
            width = len(smaller[f"{name}.weight"])
        elif isinstance(layer, nn.Linear) and width:
            _pass_on(layer, width)
    return held


def _hold(name: str, layer: Layer, smaller: Mapping[str, Tensor]) -> list[str]:
    """Put a smaller layer into one, if it fits."""
    weight = smaller[f"{name}.weight"]
    if not _fits(weight.shape, layer.weight.shape):
        return []
    outputs, inputs = weight.shape[:2]
    layer.weight[:outputs] = 0.0
    layer.weight[:outputs, :inputs] = weight
    if layer.bias is not None and f"{name}.bias" in smaller:
        layer.bias[:outputs] = smaller[f"{name}.bias"]
    return [f"{name}.weight", f"{name}.bias"]


def _fits(smaller: torch.Size, larger: torch.Size) -> bool:
    """True if a layer is smaller than another, and has the same kernel."""
    room = zip(smaller[:2], larger[:2], strict=True)
    return smaller != larger and smaller[2:] == larger[2:] and all(a <= b for a, b in room)


def _pass_on(layer: nn.Linear, width: int) -> None:
    """Let a layer pass on its first inputs."""
    layer.weight[:width] = 0.0
    layer.weight[:width].fill_diagonal_(1.0)
    layer.bias[:width] = 0.0
