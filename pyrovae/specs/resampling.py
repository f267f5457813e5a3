"""What may be written under ``resampling`` of an inference."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat

from pyrovae.specs.base import Spec

Share = Annotated[float, Field(ge=0, lt=1)]


class InverseDensitySpec(Spec):
    """What both kinds share: chances are as 1 / (density + ``alpha``).

    ``alpha`` is in units of the mean density; the larger, the more alike all chances are. Of the
    draws a share ``uniform`` goes to all data alike, so that none is forgotten. With
    ``importance_weights`` each loss counts by 1 / (n p), and its mean stays that over the data.
    """

    alpha: PositiveFloat
    uniform: Share
    importance_weights: bool = False


class HistogramResamplingSpec(InverseDensitySpec):
    """Density of each latent dimension by itself, in ``bins`` (Amini et al. 2019)."""

    kind: Literal["histogram"] = "histogram"
    alpha: PositiveFloat = 0.01
    uniform: Share = 0.0
    bins: Annotated[int, Field(ge=2)] = 10


class KernelResamplingSpec(InverseDensitySpec):
    """Density of the whole code, by normal kernels ``bandwidth`` times as wide as all codes."""

    kind: Literal["kernel"] = "kernel"
    alpha: PositiveFloat = 0.0005
    uniform: Share = 0.8
    bandwidth: PositiveFloat = 1.0


ResamplingSpec = HistogramResamplingSpec | KernelResamplingSpec
