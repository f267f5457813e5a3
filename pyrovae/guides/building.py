"""From the specification of a guide to the part."""

from __future__ import annotations

from typing import assert_never

from pyrovae.guides.abstract import Guide
from pyrovae.guides.delta import DeltaGuide
from pyrovae.guides.diagonal import DiagonalGuide
from pyrovae.guides.full_rank import FullRankGuide
from pyrovae.guides.iaf import IAFGuide
from pyrovae.guides.laplace import LaplaceGuide
from pyrovae.guides.low_rank import LowRankGuide
from pyrovae.guides.mixture import MixtureGuide
from pyrovae.guides.spline import SplineGuide
from pyrovae.guides.von_mises_fisher import VonMisesFisherGuide
from pyrovae.networks import Encoder
from pyrovae.specs.guides import (
    DeltaGuideSpec,
    DiagonalGuideSpec,
    FullRankGuideSpec,
    GuideSpec,
    IAFGuideSpec,
    LaplaceGuideSpec,
    LowRankGuideSpec,
    MixtureGuideSpec,
    SplineGuideSpec,
    VonMisesFisherGuideSpec,
)


def build_guide(spec: GuideSpec, encoder: Encoder, latent_dim: int) -> Guide:
    """q(z | x), given its encoder.

    Raises:
        SpecError: A guide that codes of this length cannot have.
    """
    match spec:
        case DeltaGuideSpec():
            return DeltaGuide(encoder, latent_dim)
        case DiagonalGuideSpec():
            return DiagonalGuide(encoder, latent_dim)
        case LaplaceGuideSpec():
            return LaplaceGuide(encoder, latent_dim)
        case LowRankGuideSpec():
            return LowRankGuide(encoder, latent_dim, spec.rank)
        case FullRankGuideSpec():
            return FullRankGuide(encoder, latent_dim)
        case VonMisesFisherGuideSpec():
            return VonMisesFisherGuide(encoder, latent_dim)
        case MixtureGuideSpec():
            return MixtureGuide(encoder, latent_dim, spec.components)
        case IAFGuideSpec():
            return IAFGuide(encoder, latent_dim, spec.layers, spec.widths)
        case SplineGuideSpec():
            return SplineGuide(encoder, latent_dim, spec.layers, spec.widths)
        case _:
            assert_never(spec)
