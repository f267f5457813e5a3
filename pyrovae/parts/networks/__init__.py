"""Encoders and decoders."""

from pyrovae.parts.networks.abstract import Decoder as Decoder
from pyrovae.parts.networks.abstract import Encoder as Encoder
from pyrovae.parts.networks.conv import ConvDecoder as ConvDecoder
from pyrovae.parts.networks.conv import ConvEncoder as ConvEncoder
from pyrovae.parts.networks.mlp import MLPDecoder as MLPDecoder
from pyrovae.parts.networks.mlp import MLPEncoder as MLPEncoder
from pyrovae.parts.networks.residual import ResidualDecoder as ResidualDecoder
from pyrovae.parts.networks.residual import ResidualEncoder as ResidualEncoder
