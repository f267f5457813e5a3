"""Any module as an encoder or a decoder."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pyrovae.compute.modes import evaluation_mode
from pyrovae.errors import SpecError, reason
from pyrovae.parts.networks.abstract import Decoder, Encoder


class ModuleEncoder(Encoder):
    """A module of yours, from scaled data ``(batch, *shape)`` to features.

    Features of any shape are flattened.

    Args:
        module: The module, such as a CNN or a torchvision ResNet.
        shape: Shape of one observation.
        levels: The data's largest intensity; data are divided by it.

    Raises:
        SpecError: The module does not take data of this shape.

    Example:
        >>> ModuleEncoder(nn.Conv2d(1, 4, 3, stride=2), (1, 8, 8)).features
        36
    """

    def __init__(self, module: nn.Module, shape: Sequence[int], levels: float = 1.0) -> None:
        super().__init__(levels)
        self.module = module
        self.shape = tuple(shape)
        self.features = _tried(module, torch.zeros(2, *shape), "encoder").shape[1]

    def forward(self, x: Float[Tensor, " ..."]) -> Float[Tensor, "*batch features"]:
        """Features of data ``(*batch, *shape)``."""
        batch = x.shape[: x.ndim - len(self.shape)]
        features = self.module(self.scaled(x).reshape(-1, *self.shape))
        return features.reshape(*batch, self.features)


class ModuleDecoder(Decoder):
    """A module of yours, from latents ``(batch, latent)`` to the likelihood's parameters.

    Args:
        module: The module; gives ``outputs`` numbers for each value, in any shape.
        latent_dim: Length of the latent.
        outputs: Parameters of the likelihood for each value.
        shape: Shape of one observation.

    Raises:
        SpecError: The module does not take latents of this length, or gives another number of
            values.
    """

    def __init__(
        self, module: nn.Module, latent_dim: int, outputs: int, shape: Sequence[int]
    ) -> None:
        super().__init__()
        self.module = module
        self.shape = (outputs, *shape)
        found = _tried(module, torch.zeros(2, latent_dim), "decoder").shape[1]
        if found != math.prod(self.shape):
            raise SpecError(
                f"the decoder gives {found} numbers for a latent, and the likelihood needs "
                f"{math.prod(self.shape)}, {outputs} for each value of {tuple(shape)}: change its "
                "last layer"
            )

    def forward(self, z: Float[Tensor, "*batch latent"]) -> Float[Tensor, " ..."]:
        """Outputs of shape ``(*batch, outputs, *shape)``."""
        return self.module(z.reshape(-1, z.shape[-1])).reshape(*z.shape[:-1], *self.shape)

    def start_at(self, outputs: Float[Tensor, " ..."]) -> None:
        """Refuse: the module's last bias is not known."""
        raise SpecError(
            "model.output_bias = 'data_mean' sets the last bias of a decoder, which is not known "
            "of one of yours: choose 'random'"
        )


def as_encoder(module: nn.Module, shape: Sequence[int], levels: float) -> Encoder:
    """An encoder as it is, or any other module as one."""
    return module if isinstance(module, Encoder) else ModuleEncoder(module, shape, levels)


def as_decoder(module: nn.Module, latent_dim: int, outputs: int, shape: Sequence[int]) -> Decoder:
    """A decoder as it is, or any other module as one."""
    if isinstance(module, Decoder):
        return module
    return ModuleDecoder(module, latent_dim, outputs, shape)


def _tried(module: nn.Module, inputs: Tensor, name: str) -> Tensor:
    """The module's outputs, ``(batch, numbers)``, computed without changing it."""
    try:
        with torch.no_grad(), evaluation_mode(module):
            return module(inputs).flatten(1)
    except Exception as error:  # a user's module
        raise SpecError(
            f"the {name} does not take {tuple(inputs.shape)}, a batch of two: {reason(error)}"
        ) from error
