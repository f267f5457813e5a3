"""Keys of ``resampling`` of an inference."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pyrovae.specs.base import Positive, Spec

Share = Annotated[float, Field(ge=0, lt=1)]


class InverseDensitySpec(Spec):
    """Keys common to both kinds: probabilities are proportional to 1 / (density + ``alpha``).

    ``alpha`` is in units of the mean density; a larger one brings the probabilities closer to
    uniform. A fraction ``uniform`` of the draws is uniform over the data. With
    ``importance_weights`` each loss is weighted by 1 / (n p), so that its expectation is the mean
    over the data.
    """

    alpha: Positive
    uniform: Share
    importance_weights: bool = False


class HistogramResamplingSpec(InverseDensitySpec):
    """Density of each latent dimension by itself, in ``bins`` (Amini et al. 2019)."""

    kind: Literal["histogram"] = "histogram"
    alpha: Positive = 0.01
    uniform: Share = 0.0
    bins: Annotated[int, Field(ge=2, le=10**6)] = 10


class KernelResamplingSpec(InverseDensitySpec):
    """Joint density of the latents, by normal kernels of ``bandwidth`` times their scale."""

    kind: Literal["kernel"] = "kernel"
    alpha: Positive = 0.0005
    uniform: Share = 0.8
    bandwidth: Positive = 1.0


ResamplingSpec = HistogramResamplingSpec | KernelResamplingSpec
