"""Convolutional encoder and decoder for images of any size."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from pyrovae.parts.networks.activation import Activation, activation
from pyrovae.parts.networks.images import ImageDecoder, ImageEncoder, pyramid


class ConvEncoder(ImageEncoder):
    """Strided convolutions, each halving the image.

    Args:
        shape: ``(channels, height, width)`` of one observation.
        widths: Channels after each convolution, from the data on.
        nonlinearity: Name of the activation.
        levels: The data's largest intensity; data are divided by it.

    Raises:
        SpecError: The data are not images, or too small.

    Example:
        >>> import torch
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
        super().__init__(shape, pyramid("conv", shape, len(widths)), widths[-1], levels)
        layers: list[nn.Module] = []
        for inputs, outputs in zip((shape[0], *widths), widths, strict=False):
            layers += [
                nn.Conv2d(inputs, outputs, kernel_size=3, stride=2, padding=1),
                activation(nonlinearity),
            ]
        self.layers = nn.Sequential(*layers)


class ConvDecoder(ImageDecoder):
    """A linear layer, then nearest-neighbour enlargements each followed by a convolution.

    Enlarging before convolving avoids the checkerboard of transposed convolutions (Odena et
    al. 2016, *Deconvolution and Checkerboard Artifacts*), and reaches odd sizes as it is.

    Args:
        latent_dim: Length of the latent.
        shape: ``(channels, height, width)`` of one observation.
        outputs: Numbers the likelihood needs for each value of an observation.
        widths: Channels before each enlargement, from the latent on.
        nonlinearity: Name of the activation.

    Raises:
        SpecError: The data are not images, or too small.

    Example:
        >>> import torch
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
        sizes = pyramid("conv", shape, len(widths))
        super().__init__(latent_dim, shape, outputs, sizes, widths[0])
        channels = (*widths[1:], outputs * shape[0])
        layers: list[nn.Module] = []
        for inputs, wanted, size in zip(widths, channels, sizes[-2::-1], strict=True):
            layers += [
                activation(nonlinearity),
                nn.Upsample(size=size, mode="nearest"),
                nn.Conv2d(inputs, wanted, kernel_size=3, padding=1),
            ]
        self.layers = nn.Sequential(*layers)
