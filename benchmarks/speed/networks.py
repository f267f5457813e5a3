"""The networks in PyTorch, for all peers that bring none of their own."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F  # noqa: N812
from problems import SCALE_FLOOR, Problem
from torch import Tensor, nn
from weights import Weights, layers, smallest

ACTIVATIONS = {
    "softplus": nn.Softplus(),
    "tanh": nn.Tanh(),
    "identity": nn.Identity(),
    "relu": nn.ReLU(),
}


class GatedLinear(nn.Module):
    """A linear layer times a learned gate."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.value = nn.Linear(inputs, outputs)
        self.gate = nn.Linear(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.value(x) * torch.sigmoid(self.gate(x))


class Encoder(nn.Module):
    """From data ``(batch, *shape)`` to loc and scale of the guide."""

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        shapes = dict(layers(problem))
        self.activation = ACTIVATIONS[problem.activation]
        self.hidden = nn.ModuleList(hidden(problem, "encoder", stride=2))
        outputs, features = shapes["encoder.loc"]
        self.loc = nn.Linear(features, outputs)
        self.scale = nn.Linear(features, outputs)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        for layer in self.hidden:
            x = self.activation(layer(x))
        features = x.flatten(1)
        return self.loc(features), F.softplus(self.scale(features)) + SCALE_FLOOR


class MLPDecoder(nn.Module):
    """From codes ``(*batch, latent_dim)`` to logits of pixels ``(*batch, pixels)``."""

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[problem.activation]
        self.hidden = nn.ModuleList(hidden(problem, "decoder"))
        outputs, inputs = dict(layers(problem))["decoder.last"]
        self.last = nn.Linear(inputs, outputs)

    def forward(self, z: Tensor) -> Tensor:
        for layer in self.hidden:
            z = self.activation(layer(z))
        return self.last(z)


class ConvDecoder(nn.Module):
    """From codes ``(batch, latent_dim)`` to logits ``(batch, 1, side, side)``."""

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[problem.activation]
        self.first = (problem.widths[-1], smallest(problem), smallest(problem))
        self.hidden = nn.ModuleList(hidden(problem, "decoder"))
        outputs, inputs, *_ = dict(layers(problem))["decoder.last"]
        self.last = nn.Conv2d(inputs, outputs, kernel_size=3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        linear, *convolutions = self.hidden
        images = linear(z).unflatten(1, self.first)
        for layer in (*convolutions, self.last):
            images = layer(F.interpolate(self.activation(images), scale_factor=2))
        return images


class PseudoInputs(nn.Module):
    """What a VampPrior shows to the encoder, inside [0, 1]."""

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.pseudo_inputs = nn.Parameter(start)

    def forward(self, *_: Tensor) -> Tensor:
        return self.pseudo_inputs.clamp(0, 1)


def hidden(problem: Problem, role: str, stride: int = 1) -> Iterator[nn.Module]:
    """The hidden layers of encoder or decoder."""
    for name, (outputs, inputs, *kernel) in layers(problem):
        if name.startswith(f"{role}.hidden") and not name.endswith("gate"):
            if name.endswith("value"):
                yield GatedLinear(inputs, outputs)
            elif kernel:
                yield nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, stride=stride)
            else:
                yield nn.Linear(inputs, outputs)


def build(problem: Problem, weights: Weights) -> tuple[Encoder, nn.Module, PseudoInputs | None]:
    """Encoder, decoder, and what a VampPrior has besides, with these weights."""
    decoder = ConvDecoder(problem) if problem.network == "conv" else MLPDecoder(problem)
    both = nn.ModuleDict({"encoder": Encoder(problem), "decoder": decoder})
    tensors = {name: torch.from_numpy(value).clone() for name, value in weights.items()}
    start = tensors.pop("pseudo_inputs", None)
    both.load_state_dict(tensors)
    prior = None if start is None else PseudoInputs(start)
    return both["encoder"], both["decoder"], prior
