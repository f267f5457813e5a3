"""Fully connected encoder and decoder."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pyrovae.parts.networks.abstract import Decoder, Encoder
from pyrovae.parts.networks.activation import Activation, activation


class GatedLinear(nn.Module):
    r"""A linear layer behind a learned gate.

    .. math::
        h = a(W x + b) \odot \operatorname{sigmoid}(V x + c)

    Args:
        inputs: Length of :math:`x`.
        outputs: Length of :math:`h`.
        nonlinearity: Name of :math:`a`; "identity" gives the layer of the reference.

    References:
        Tomczak and Welling (2018), *VAE with a VampPrior*, arXiv:1705.07120, section 4.
    """

    def __init__(self, inputs: int, outputs: int, nonlinearity: Activation) -> None:
        super().__init__()
        self.value = nn.Linear(inputs, outputs)
        self.gate = nn.Linear(inputs, outputs)
        self.activation = activation(nonlinearity)

    def forward(self, x: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch outputs"]:
        """The gated layer's values."""
        return self.activation(self.value(x)) * torch.sigmoid(self.gate(x))


def hidden_layers(sizes: Sequence[int], nonlinearity: Activation, *, gated: bool) -> nn.Sequential:
    """Layers from ``sizes[0]`` values to ``sizes[-1]``, each followed by its nonlinearity."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        if gated:
            layers.append(GatedLinear(inputs, outputs, nonlinearity))
        else:
            layers += [nn.Linear(inputs, outputs), activation(nonlinearity)]
    return nn.Sequential(*layers)


class MLPEncoder(Encoder):
    """Fully connected layers from flattened data to features.

    Args:
        shape: Shape of one observation.
        widths: Width of each hidden layer, from the data on; empty to pass the data on.
        nonlinearity: Name of the activation.
        gated: Give each layer a gate (:class:`GatedLinear`).
        levels: The data's largest intensity; data are divided by it.

    Example:
        >>> MLPEncoder((1, 8, 8), widths=[32, 16])(torch.zeros(5, 1, 8, 8)).shape
        torch.Size([5, 16])
    """

    def __init__(
        self,
        shape: Sequence[int],
        widths: Sequence[int] = (200, 200),
        nonlinearity: Activation = "relu",
        *,
        gated: bool = False,
        levels: float = 1.0,
    ) -> None:
        super().__init__(levels)
        self.shape = torch.Size(shape)
        sizes = (self.shape.numel(), *widths)
        self.features = sizes[-1]
        self.layers = hidden_layers(sizes, nonlinearity, gated=gated)

    def forward(self, x: Float[Tensor, " ..."]) -> Float[Tensor, "*batch features"]:
        """Features of data of shape ``(*batch, *shape)``."""
        return self.layers(self.scaled(x).flatten(-len(self.shape)))


class MLPDecoder(Decoder):
    """Fully connected layers from latents to the shape of the data.

    Args:
        latent_dim: Length of the latent.
        shape: Shape of one observation.
        outputs: Numbers the likelihood needs for each value of an observation.
        widths: Width of each hidden layer, from the latent on; empty for a linear decoder.
        nonlinearity: Name of the activation.
        gated: Give each hidden layer a gate (:class:`GatedLinear`).

    Example:
        >>> MLPDecoder(2, (1, 8, 8), outputs=1, widths=[16])(torch.zeros(5, 2)).shape
        torch.Size([5, 1, 1, 8, 8])
    """

    def __init__(
        self,
        latent_dim: int,
        shape: Sequence[int],
        outputs: int = 1,
        widths: Sequence[int] = (200, 200),
        nonlinearity: Activation = "relu",
        *,
        gated: bool = False,
    ) -> None:
        super().__init__()
        self.folded = torch.Size((outputs, *shape))
        sizes = (latent_dim, *widths)
        self.layers = hidden_layers(sizes, nonlinearity, gated=gated)
        self.last = nn.Linear(sizes[-1], self.folded.numel())

    def forward(self, z: Float[Tensor, "*batch latent"]) -> Float[Tensor, " ..."]:
        """Outputs of shape ``(*batch, outputs, *shape)``."""
        return self.last(self.layers(z)).unflatten(-1, self.folded)

    @torch.no_grad()
    def start_at(self, outputs: Float[Tensor, " ..."]) -> None:
        """Set the last bias to ``(outputs, *shape)`` numbers."""
        self.last.bias.copy_(outputs.flatten())
