"""Base classes of the networks for images of any size."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pyrovae.errors import SpecError
from pyrovae.parts.networks.abstract import Decoder, Encoder


def pyramid(kind: str, shape: Sequence[int], halvings: int) -> list[tuple[int, int]]:
    """Heights and widths from the image down, each half of the one before, rounded up.

    Example:
        >>> pyramid("conv", (1, 28, 28), halvings=2)
        [(28, 28), (14, 14), (7, 7)]

    Raises:
        SpecError: ``shape`` is not an image's, or the image is too small for so many halvings;
            names the network's ``kind``.
    """
    if len(shape) != 3:
        raise SpecError(
            f"a '{kind}' network needs images, and the data have shape {tuple(shape)}; "
            "choose kind 'mlp'"
        )
    sizes = [(shape[1], shape[2])]
    for _ in range(halvings):
        if min(sizes[-1]) < 2:
            raise SpecError(
                f"a '{kind}' network with {halvings} widths halves the image {halvings} times, "
                f"and {shape[1]} x {shape[2]} is too small for that; give it fewer widths"
            )
        sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
    return sizes


class ImageEncoder(Encoder):
    """Layers, set by the subclass, that halve an image at every width; then flattening.

    Args:
        shape: ``(channels, height, width)`` of one observation.
        sizes: The :func:`pyramid` of the image.
        width: Channels of the smallest image.
        levels: The data's largest intensity; data are divided by it.
    """

    layers: nn.Sequential

    def __init__(
        self, shape: Sequence[int], sizes: Sequence[tuple[int, int]], width: int, levels: float
    ) -> None:
        super().__init__(levels)
        self.shape = torch.Size(shape)
        self.features = torch.Size((width, *sizes[-1])).numel()

    def forward(self, x: Float[Tensor, " ..."]) -> Float[Tensor, "*batch features"]:
        """Features of images of shape ``(*batch, channels, height, width)``."""
        batch = x.shape[: x.ndim - len(self.shape)]
        features = self.layers(self.scaled(x).reshape(-1, *self.shape))
        return features.reshape(*batch, self.features)


class ImageDecoder(Decoder):
    """A linear layer to the smallest image; then layers, set by the subclass, that enlarge it.

    The last of them is a convolution, with one bias for each channel.

    Args:
        latent_dim: Length of the latent.
        shape: ``(channels, height, width)`` of one observation.
        outputs: Numbers the likelihood needs for each value of an observation.
        sizes: The :func:`pyramid` of the image.
        width: Channels of the smallest image.
    """

    layers: nn.Sequential

    def __init__(
        self,
        latent_dim: int,
        shape: Sequence[int],
        outputs: int,
        sizes: Sequence[tuple[int, int]],
        width: int,
    ) -> None:
        super().__init__()
        self.first = torch.Size((width, *sizes[-1]))
        self.folded = torch.Size((outputs, *shape))
        self.linear = nn.Linear(latent_dim, self.first.numel())

    def forward(self, z: Float[Tensor, "*batch latent"]) -> Float[Tensor, " ..."]:
        """Outputs of shape ``(*batch, outputs, channels, height, width)``."""
        images = self.layers(self.linear(z).reshape(-1, *self.first))
        return images.reshape(*z.shape[:-1], *self.folded)

    @torch.no_grad()
    def start_at(self, outputs: Float[Tensor, " ..."]) -> None:
        """Set the bias of each channel to the mean of its ``(outputs, *shape)`` numbers."""
        self.layers[-1].get_parameter("bias").copy_(outputs.mean((-2, -1)).flatten())

    def pooled(self, mean: Float[Tensor, " *shape"]) -> Float[Tensor, " *shape"]:
        """The mean over each channel, whose values share a bias."""
        return mean.mean((-2, -1), keepdim=True).expand_as(mean)
