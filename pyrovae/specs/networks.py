"""Keys of ``decoder`` of a model and of ``guide.encoder`` of an inference."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pyrovae.specs.base import Few, Size, Spec
from pyrovae.specs.own import BY_KIND, OwnSpec

Activation = Literal["relu", "tanh", "softplus", "elu", "silu", "gelu", "identity"]
Inputs = Literal["scaled", "log1p"]
Widths = Annotated[tuple[Size, ...], Field(min_length=1, max_length=100, strict=False)]
WidthsOrNone = Annotated[tuple[Size, ...], Field(max_length=100, strict=False)]


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
    blocks: Few = 1


class _EncoderSpec(Spec):
    """Key common to all encoders: data in units of order one, or the logarithm of counts."""

    inputs: Inputs = "scaled"


class MLPEncoderSpec(MLPSpec, _EncoderSpec):
    """Encoder of fully connected layers."""


class ConvEncoderSpec(ConvSpec, _EncoderSpec):
    """Encoder of convolutions."""


class ResidualEncoderSpec(ResidualSpec, _EncoderSpec):
    """Encoder of residual blocks."""


class MirrorSpec(Spec):
    """Encoder that mirrors the model's decoder: the same kind, its widths reversed.

    Its inputs are log(1 + x) where p(x | z) is of counts without a bound, else scaled.
    """

    kind: Literal["mirror"] = "mirror"


class OwnDecoderSpec(OwnSpec):
    """A module from latents to the likelihood's numbers.

    May take ``latent_dim``, ``outputs`` and ``shape``.
    """


class OwnEncoderSpec(OwnSpec):
    """A module from data to features; may take ``shape`` and ``levels``."""

    inputs: Inputs = "scaled"


NetworkSpec = Annotated[MLPSpec | ConvSpec | ResidualSpec | OwnDecoderSpec, BY_KIND]
EncoderSpec = Annotated[
    MLPEncoderSpec | ConvEncoderSpec | ResidualEncoderSpec | MirrorSpec | OwnEncoderSpec, BY_KIND
]
