"""From the specification of a guide to the part."""

from __future__ import annotations

from typing import assert_never

from pyrovae.errors import SpecError
from pyrovae.parts.families import (
    DeltaFamily,
    DiagonalNormal,
    Family,
    FullRankNormal,
    InverseAutoregressiveFlow,
    LaplaceFamily,
    LowRankNormal,
    MixtureFamily,
    SplineFlow,
    VonMisesFisherFamily,
)
from pyrovae.parts.guides.guide import Guide
from pyrovae.parts.networks import Encoder
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
        SpecError: A guide that latents of this length cannot have.
    """
    try:
        return Guide(encoder, build_family(spec, encoder.features, latent_dim))
    except SpecError as error:
        raise SpecError(f"inference.guide: {error}") from None


def build_family(spec: GuideSpec, features: int, dims: int) -> Family:
    """The family that a guide's specification names.

    Raises:
        SpecError: A family that latents of this length cannot have.
    """
    match spec:
        case DeltaGuideSpec():
            return DeltaFamily(features, dims)
        case DiagonalGuideSpec():
            return DiagonalNormal(features, dims)
        case LaplaceGuideSpec():
            return LaplaceFamily(features, dims)
        case LowRankGuideSpec():
            return LowRankNormal(features, dims, spec.rank)
        case FullRankGuideSpec():
            return FullRankNormal(features, dims)
        case VonMisesFisherGuideSpec():
            return VonMisesFisherFamily(features, dims)
        case MixtureGuideSpec():
            return MixtureFamily(features, dims, spec.components)
        case IAFGuideSpec():
            return InverseAutoregressiveFlow(features, dims, spec.layers, spec.widths)
        case SplineGuideSpec():
            return SplineFlow(features, dims, spec.layers, spec.widths)
        case _:
            assert_never(spec)
