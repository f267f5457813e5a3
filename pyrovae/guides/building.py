"""From the specification of a guide to the part."""

from __future__ import annotations

from typing import assert_never

from pyrovae.guides.abstract import Guide
from pyrovae.guides.diagonal import DiagonalGuide
from pyrovae.guides.full_rank import FullRankGuide
from pyrovae.guides.von_mises_fisher import VonMisesFisherGuide
from pyrovae.networks import Encoder
from pyrovae.specs.guides import (
    DiagonalGuideSpec,
    FullRankGuideSpec,
    GuideSpec,
    VonMisesFisherGuideSpec,
)


def build_guide(spec: GuideSpec, encoder: Encoder, latent_dim: int) -> Guide:
    """q(z | x), given its encoder."""
    match spec:
        case DiagonalGuideSpec():
            return DiagonalGuide(encoder, latent_dim)
        case FullRankGuideSpec():
            return FullRankGuide(encoder, latent_dim)
        case VonMisesFisherGuideSpec():
            return VonMisesFisherGuide(encoder, latent_dim)
        case _:
            assert_never(spec)
