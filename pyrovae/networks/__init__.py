"""Encoders and decoders."""

from pyrovae.networks.abstract import Decoder as Decoder
from pyrovae.networks.abstract import Encoder as Encoder
from pyrovae.networks.conv import ConvDecoder as ConvDecoder
from pyrovae.networks.conv import ConvEncoder as ConvEncoder
from pyrovae.networks.mlp import MLPDecoder as MLPDecoder
from pyrovae.networks.mlp import MLPEncoder as MLPEncoder
from pyrovae.networks.residual import ResidualDecoder as ResidualDecoder
from pyrovae.networks.residual import ResidualEncoder as ResidualEncoder
