"""What may be written under ``guide`` of an inference: q(z | x)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pyrovae.specs.base import Spec
from pyrovae.specs.networks import EncoderSpec, MirrorSpec


class DiagonalGuideSpec(Spec):
    """Normal with independent latent dimensions."""

    kind: Literal["diagonal"] = "diagonal"
    encoder: EncoderSpec = MirrorSpec()


class FullRankGuideSpec(Spec):
    """Normal with a lower-triangular scale."""

    kind: Literal["full_rank"] = "full_rank"
    encoder: EncoderSpec = MirrorSpec()


class VonMisesFisherGuideSpec(Spec):
    """Von Mises–Fisher, for a code on the sphere."""

    kind: Literal["von_mises_fisher"] = "von_mises_fisher"
    encoder: EncoderSpec = MirrorSpec()


GuideSpec = Annotated[
    DiagonalGuideSpec | FullRankGuideSpec | VonMisesFisherGuideSpec, Field(discriminator="kind")
]
