"""Keys of ``decoder`` of a model and of ``guide.encoder`` of an inference."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from pyrovae.specs.base import Spec

Activation = Literal["relu", "tanh", "softplus", "elu", "silu", "gelu", "identity"]
Widths = Annotated[tuple[PositiveInt, ...], Field(min_length=1, strict=False)]
WidthsOrNone = Annotated[tuple[PositiveInt, ...], Field(strict=False)]


class MLPSpec(Spec):
    """Fully connected layers, gated or not; linear if there are no widths."""

    kind: Literal["mlp"] = "mlp"
    widths: WidthsOrNone = (200, 200)
    activation: Activation = "relu"
    gated: bool = False


class ConvSpec(Spec):
    """Convolutions that halve (encoder) or double (decoder) the image at every width."""

    kind: Literal["conv"] = "conv"
    widths: Widths = (32, 64)
    activation: Activation = "relu"


class ResidualSpec(Spec):
    """Convolutions as in ``conv``, with residual blocks at each size of the image but its own."""

    kind: Literal["residual"] = "residual"
    widths: Widths = (32, 64)
    activation: Activation = "relu"
    blocks: PositiveInt = 1


class MirrorSpec(Spec):
    """Encoder that mirrors the model's decoder: the same kind, widths reversed."""

    kind: Literal["mirror"] = "mirror"


NetworkSpec = Annotated[MLPSpec | ConvSpec | ResidualSpec, Field(discriminator="kind")]
EncoderSpec = Annotated[
    MLPSpec | ConvSpec | ResidualSpec | MirrorSpec, Field(discriminator="kind")
]
