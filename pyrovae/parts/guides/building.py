"""Construction of a guide from its specification."""

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
    OwnGuideSpec,
    SplineGuideSpec,
    VonMisesFisherGuideSpec,
)
from pyrovae.specs.own import own_part


def build_guide(spec: GuideSpec, encoder: Encoder, latent_dim: int) -> Guide:
    """Build q(z | x), given its encoder.

    Raises:
        SpecError: The guide does not apply to latents of this length.
    """
    try:
        return Guide(encoder, build_family(spec, encoder.features, latent_dim))
    except SpecError as error:
        if isinstance(spec, OwnGuideSpec):  # says the key itself
            raise
        raise SpecError(f"inference.guide: {error}") from None


def build_family(spec: GuideSpec, features: int, dims: int) -> Family:
    """Build the family that a guide's specification names.

    Raises:
        SpecError: The family does not apply to latents of this length.
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
            return InverseAutoregressiveFlow(
                features, dims, spec.layers, spec.widths, correlated=spec.correlated
            )
        case SplineGuideSpec():
            return SplineFlow(features, dims, spec.layers, spec.widths, correlated=spec.correlated)
        case OwnGuideSpec():
            return own_part(spec, "inference.guide", Family, features=features, dims=dims)
        case _:
            assert_never(spec)
