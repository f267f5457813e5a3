"""Convolutional encoder and decoder for images of any size from 8 x 8 up."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pyrovae.errors import SpecError
from pyrovae.networks.abstract import Decoder, Encoder
from pyrovae.networks.activation import Activation, activation


def pyramid(shape: Sequence[int], halvings: int) -> list[tuple[int, int]]:
    """Heights and widths from the image down, each half of the one before, rounded up.

    Example:
        >>> pyramid((1, 28, 28), halvings=2)
        [(28, 28), (14, 14), (7, 7)]

    Raises:
        SpecError: ``shape`` is not an image's, or the image is too small to be halved so often.
    """
    if len(shape) != 3:
        raise SpecError(
            f"a 'conv' network needs images, and the data have shape {tuple(shape)}; "
            "choose kind 'mlp'"
        )
    sizes = [(shape[1], shape[2])]
    for _ in range(halvings):
        if min(sizes[-1]) < 2:
            raise SpecError(
                f"a 'conv' network with {halvings} widths halves the image {halvings} times, "
                f"and {shape[1]} x {shape[2]} is too small for that; give it fewer widths"
            )
        sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
    return sizes


class ConvEncoder(Encoder):
    """Strided convolutions, each halving the image.

    Args:
        shape: ``(channels, height, width)`` of one observation.
        widths: Channels after each convolution, from the data on.
        nonlinearity: Name of the activation.
        levels: The data's largest intensity; data are divided by it.

    Raises:
        SpecError: The data are not images, or too small.

    Example:
        >>> ConvEncoder((1, 8, 8), widths=[4, 6])(torch.zeros(5, 1, 8, 8)).shape
        torch.Size([5, 24])
    """

    def __init__(
        self,
        shape: Sequence[int],
        widths: Sequence[int] = (32, 64),
        nonlinearity: Activation = "relu",
        *,
        levels: float = 1.0,
    ) -> None:
        super().__init__()
        height, width = pyramid(shape, len(widths))[-1]
        self.shape = torch.Size(shape)
        self.features = widths[-1] * height * width
        self.levels = levels
        layers: list[nn.Module] = []
        for inputs, outputs in zip((shape[0], *widths), widths, strict=False):
            layers += [
                nn.Conv2d(inputs, outputs, kernel_size=3, stride=2, padding=1),
                activation(nonlinearity),
            ]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Float[Tensor, " ..."]) -> Float[Tensor, "*batch features"]:
        """Features of images of shape ``(*batch, channels, height, width)``."""
        batch = x.shape[: x.ndim - len(self.shape)]
        features = self.layers((x / self.levels).reshape(-1, *self.shape))
        return features.reshape(*batch, self.features)


class ConvDecoder(Decoder):
    """A linear layer, then nearest-neighbour enlargements each followed by a convolution.

    Enlarging before convolving avoids the checkerboard of transposed convolutions (Odena et
    al. 2016, *Deconvolution and Checkerboard Artifacts*), and reaches odd sizes as it is.

    Args:
        latent_dim: Length of the code.
        shape: ``(channels, height, width)`` of one observation.
        outputs: Numbers the likelihood needs for each value of an observation.
        widths: Channels before each enlargement, from the code on.
        nonlinearity: Name of the activation.

    Raises:
        SpecError: The data are not images, or too small.

    Example:
        >>> ConvDecoder(2, (1, 28, 28), outputs=1, widths=[6, 4])(torch.zeros(5, 2)).shape
        torch.Size([5, 1, 1, 28, 28])
    """

    def __init__(
        self,
        latent_dim: int,
        shape: Sequence[int],
        outputs: int = 1,
        widths: Sequence[int] = (64, 32),
        nonlinearity: Activation = "relu",
    ) -> None:
        super().__init__()
        *larger, smallest = pyramid(shape, len(widths))
        self.first = torch.Size((widths[0], *smallest))
        self.folded = torch.Size((outputs, *shape))
        channels = (*widths, outputs * shape[0])
        self.linear = nn.Linear(latent_dim, self.first.numel())
        layers: list[nn.Module] = []
        for inputs, wanted, size in zip(widths, channels[1:], reversed(larger), strict=True):
            layers += [
                activation(nonlinearity),
                nn.Upsample(size=size, mode="nearest"),
                nn.Conv2d(inputs, wanted, kernel_size=3, padding=1),
            ]
        self.layers = nn.Sequential(*layers)

    def forward(self, z: Float[Tensor, "*batch latent"]) -> Float[Tensor, " ..."]:
        """Outputs of shape ``(*batch, outputs, channels, height, width)``."""
        images = self.layers(self.linear(z).reshape(-1, *self.first))
        return images.reshape(*z.shape[:-1], *self.folded)
