"""Construction of an encoder or a decoder from its specification."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, assert_never

from torch import nn

from pyrovae.parts.networks.abstract import Decoder, Encoder
from pyrovae.parts.networks.conv import ConvDecoder, ConvEncoder
from pyrovae.parts.networks.mlp import MLPDecoder, MLPEncoder
from pyrovae.parts.networks.module import as_decoder, as_encoder
from pyrovae.parts.networks.residual import ResidualDecoder, ResidualEncoder
from pyrovae.specs.networks import (
    ConvEncoderSpec,
    ConvSpec,
    MLPEncoderSpec,
    MLPSpec,
    NetworkSpec,
    OwnDecoderSpec,
    OwnEncoderSpec,
    ResidualEncoderSpec,
    ResidualSpec,
)
from pyrovae.specs.own import own_part

BuiltEncoderSpec = MLPEncoderSpec | ConvEncoderSpec | ResidualEncoderSpec | OwnEncoderSpec


def build_decoder(
    spec: NetworkSpec, latent_dim: int, shape: Sequence[int], outputs: int
) -> Decoder:
    """Build the network from latents to the likelihood's parameters."""
    match spec:
        case MLPSpec():
            return MLPDecoder(
                latent_dim, shape, outputs, spec.widths, spec.activation, gated=spec.gated
            )
        case ConvSpec():
            return ConvDecoder(latent_dim, shape, outputs, spec.widths, spec.activation)
        case ResidualSpec():
            return ResidualDecoder(
                latent_dim, shape, outputs, spec.widths, spec.activation, spec.blocks
            )
        case OwnDecoderSpec():
            sizes: dict[str, Any] = {"latent_dim": latent_dim, "outputs": outputs}
            sizes["shape"] = tuple(shape)
            return as_decoder(own_part(spec, "model.decoder", nn.Module, **sizes), **sizes)
        case _:
            assert_never(spec)


def build_encoder(spec: BuiltEncoderSpec, shape: Sequence[int], levels: float) -> Encoder:
    """Build the network from data to features."""
    encoder = _encoder(spec, shape, levels)
    encoder.inputs = spec.inputs
    return encoder


def _encoder(spec: BuiltEncoderSpec, shape: Sequence[int], levels: float) -> Encoder:
    match spec:
        case MLPSpec():
            return MLPEncoder(shape, spec.widths, spec.activation, gated=spec.gated, levels=levels)
        case ConvSpec():
            return ConvEncoder(shape, spec.widths, spec.activation, levels=levels)
        case ResidualSpec():
            return ResidualEncoder(shape, spec.widths, spec.activation, spec.blocks, levels=levels)
        case OwnEncoderSpec():
            where = "inference.guide.encoder"
            data: dict[str, Any] = {"shape": tuple(shape), "levels": levels}
            return as_encoder(own_part(spec, where, nn.Module, **data), **data)
        case _:
            assert_never(spec)
