"""Keys of ``guide`` of an inference: q(z | x)."""

from __future__ import annotations

from typing import Annotated, Literal

from pyrovae.specs.base import Few, Size, Spec
from pyrovae.specs.networks import EncoderSpec, MirrorSpec, Widths
from pyrovae.specs.own import BY_KIND, OwnSpec


class DeltaGuideSpec(Spec):
    """A point."""

    kind: Literal["delta"] = "delta"
    encoder: EncoderSpec = MirrorSpec()


class DiagonalGuideSpec(Spec):
    """Normal with independent latent dimensions."""

    kind: Literal["diagonal"] = "diagonal"
    encoder: EncoderSpec = MirrorSpec()


class LaplaceGuideSpec(Spec):
    """Laplace with independent latent dimensions."""

    kind: Literal["laplace"] = "laplace"
    encoder: EncoderSpec = MirrorSpec()


class LowRankGuideSpec(Spec):
    """Normal whose covariance is diagonal plus a matrix of some rank."""

    kind: Literal["low_rank"] = "low_rank"
    rank: Size = 2
    encoder: EncoderSpec = MirrorSpec()


class FullRankGuideSpec(Spec):
    """Normal with a lower-triangular scale."""

    kind: Literal["full_rank"] = "full_rank"
    encoder: EncoderSpec = MirrorSpec()


class MixtureGuideSpec(Spec):
    """Mixture of diagonal normals."""

    kind: Literal["mixture"] = "mixture"
    components: Size = 4
    encoder: EncoderSpec = MirrorSpec()


class IAFGuideSpec(Spec):
    """Inverse autoregressive flow, behind it an affine map with correlations or without."""

    kind: Literal["iaf"] = "iaf"
    layers: Few = 3
    widths: Widths = (64, 64)
    correlated: bool = False
    encoder: EncoderSpec = MirrorSpec()


class SplineGuideSpec(Spec):
    """Neural spline flow with coupling layers, behind it an affine map as of ``iaf``."""

    kind: Literal["spline"] = "spline"
    layers: Few = 3
    widths: Widths = (64, 64)
    correlated: bool = False
    encoder: EncoderSpec = MirrorSpec()


class VonMisesFisherGuideSpec(Spec):
    """Von Mises–Fisher, for a latent on the sphere."""

    kind: Literal["von_mises_fisher"] = "von_mises_fisher"
    encoder: EncoderSpec = MirrorSpec()


class OwnGuideSpec(OwnSpec):
    """A subclass of :class:`pyrovae.parts.families.Family`, which takes ``features``, ``dims``."""

    encoder: EncoderSpec = MirrorSpec()


GuideSpec = Annotated[
    DeltaGuideSpec
    | DiagonalGuideSpec
    | LaplaceGuideSpec
    | LowRankGuideSpec
    | FullRankGuideSpec
    | MixtureGuideSpec
    | IAFGuideSpec
    | SplineGuideSpec
    | VonMisesFisherGuideSpec
    | OwnGuideSpec,
    BY_KIND,
]
