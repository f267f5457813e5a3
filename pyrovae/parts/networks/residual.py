"""Convolutional encoder and decoder of residual blocks."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from pyrovae.errors import SpecError
from pyrovae.parts.networks.activation import Activation, activation
from pyrovae.parts.networks.images import ImageDecoder, ImageEncoder, pyramid

CHANNELS = 16
"""Fewest channels per group of the normalisation, after Wu and He."""


def normalisation(width: int) -> nn.GroupNorm:
    """Group normalisation of any number of channels above one.

    There are as many groups as give each of them the same number of channels and at least 16;
    a width that does not divide so is one group.

    Raises:
        SpecError: A width of 1: a single number minus its mean is always zero.

    Example:
        >>> [normalisation(width).num_groups for width in (3, 32, 34, 37, 48)]
        [1, 2, 2, 1, 3]
    """
    if width < 2:
        raise SpecError(
            f"a 'residual' network with a width of {width} has nothing to normalise over; give it "
            "widths of 2 or more"
        )
    most = max(width // CHANNELS, 1)
    groups = max(count for count in range(1, most + 1) if width % count == 0)
    return nn.GroupNorm(groups, width)


def convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """Build a 3 x 3 convolution that keeps the size."""
    return nn.Conv2d(inputs, outputs, kernel_size=3, stride=stride, padding=1)


class ResidualBlock(nn.Module):
    r"""Residual block of two convolutions, each after normalisation and nonlinearity.

    .. math::
        h \mapsto h + W_2 * a(N_2(W_1 * a(N_1(h))))

    :math:`W_2` starts at zero and the block as the identity, so that depth costs nothing at
    the start.

    Args:
        width: Channels, in and out.
        nonlinearity: Name of :math:`a`.

    References:
        He et al. (2016), *Identity Mappings in Deep Residual Networks*, arXiv:1603.05027; Goyal
        et al. (2017), *Accurate, Large Minibatch SGD*, arXiv:1706.02677, section 5.1, for blocks
        that start as the identity.
    """

    def __init__(self, width: int, nonlinearity: Activation) -> None:
        super().__init__()
        last = convolution(width, width)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]
        self.residual = nn.Sequential(
            normalisation(width),
            activation(nonlinearity),
            convolution(width, width),
            normalisation(width),
            activation(nonlinearity),
            last,
        )

    def forward(
        self, h: Float[Tensor, "batch width height across"]
    ) -> Float[Tensor, "batch width height across"]:
        """Return the image plus the residual."""
        return h + self.residual(h)


class ResidualEncoder(ImageEncoder):
    """Strided convolutions, each halving the image, with residual blocks after each.

    Group normalisation has no statistics of the batch: the features of an observation depend on no
    other observation, and are the same in training as in evaluation. So the bound is a sum over
    observations, which it is not under batch normalisation. The features themselves are not
    normalised: at full size from the first step on, they make the posterior collapse more readily.

    Args:
        shape: ``(channels, height, width)`` of one observation.
        widths: Channels at each size, from the data on.
        nonlinearity: Name of the activation.
        blocks: Residual blocks at each size.
        levels: The data's largest intensity; data are divided by it.

    Raises:
        SpecError: The data are not images, or too small; or a width is 1.

    Example:
        >>> import torch
        >>> ResidualEncoder((1, 8, 8), widths=[4, 6])(torch.zeros(5, 1, 8, 8)).shape
        torch.Size([5, 24])

    References:
        He et al. (2016), *Identity Mappings in Deep Residual Networks*, arXiv:1603.05027; Wu and
        He (2018), *Group Normalization*, arXiv:1803.08494.
    """

    def __init__(
        self,
        shape: Sequence[int],
        widths: Sequence[int] = (32, 64),
        nonlinearity: Activation = "relu",
        blocks: int = 1,
        *,
        levels: float = 1.0,
    ) -> None:
        super().__init__(shape, pyramid("residual", shape, len(widths)), widths[-1], levels)
        layers: list[nn.Module] = []
        for inputs, width in zip((shape[0], *widths), widths, strict=False):
            layers.append(convolution(inputs, width, stride=2))
            layers += [ResidualBlock(width, nonlinearity) for _ in range(blocks)]
        self.layers = nn.Sequential(*layers, activation(nonlinearity))


class ResidualDecoder(ImageDecoder):
    """A linear layer, then residual blocks before each nearest-neighbour enlargement.

    Each enlargement is followed by a convolution (see
    :class:`~pyrovae.parts.networks.conv.ConvDecoder`). As in :class:`ResidualEncoder`, p(x | z) at
    a latent depends on no other latent, and is the same in training as in evaluation.

    Args:
        latent_dim: Length of the latent.
        shape: ``(channels, height, width)`` of one observation.
        outputs: Numbers the likelihood needs for each value of an observation.
        widths: Channels at each size, from the latent on.
        nonlinearity: Name of the activation.
        blocks: Residual blocks at each size.

    Raises:
        SpecError: The data are not images, or too small; or a width is 1.

    Example:
        >>> import torch
        >>> ResidualDecoder(2, (1, 28, 28), outputs=1, widths=[6, 4])(torch.zeros(5, 2)).shape
        torch.Size([5, 1, 1, 28, 28])

    References:
        As for :class:`ResidualEncoder`.
    """

    def __init__(
        self,
        latent_dim: int,
        shape: Sequence[int],
        outputs: int = 1,
        widths: Sequence[int] = (64, 32),
        nonlinearity: Activation = "relu",
        blocks: int = 1,
    ) -> None:
        sizes = pyramid("residual", shape, len(widths))
        super().__init__(latent_dim, shape, outputs, sizes, widths[0])
        channels = (*widths[1:], outputs * shape[0])
        layers: list[nn.Module] = []
        for width, wanted, size in zip(widths, channels, sizes[-2::-1], strict=True):
            layers += [ResidualBlock(width, nonlinearity) for _ in range(blocks)]
            if size == sizes[0]:  # no block follows that would normalise
                layers += [normalisation(width), activation(nonlinearity)]
            layers += [nn.Upsample(size=size, mode="nearest"), convolution(width, wanted)]
        self.layers = nn.Sequential(*layers)
