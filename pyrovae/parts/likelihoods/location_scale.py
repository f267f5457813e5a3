"""Base class of likelihoods with a location and a scale."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import assert_never

import torch
from jaxtyping import Float
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor, nn

from pyrovae.parts.distributions.positive import positive, raw_scale
from pyrovae.parts.likelihoods.abstract import Likelihood
from pyrovae.parts.standardisation import Standardisation
from pyrovae.specs.likelihoods import Noise, Scale

FIXED = 0.1
"""Fixed noise as a fraction of the data's scale, where no number is given."""

START_OF_TABLES, START_OF_IMAGES = 1.0, 0.3
"""Initial learned noise, as a fraction of the data's scale.

In images a few latents soon explain most of the variance, and noise that starts too high falls
slowly. In a table of few columns, noise below the initial decoder's variation makes latents
collapse: the decoder shrinks before the guide is narrow (docs/decisions/0015-units.md).
"""


class LocationScaleLikelihood(Likelihood):
    r"""Independent values around the decoder's output.

    .. math::
        p(x \mid z) = \prod_i p\left(x_i \mid m_i + s_i f_i(z), \sigma_i\right)

    The location is the decoder's output :math:`f` as it is, not squeezed into an interval: data
    may lie anywhere. Networks compute in units of the data, :math:`m` and :math:`s`
    (:class:`pyrovae.parts.standardisation.Standardisation`); the density is of x itself.

    One learned :math:`\sigma` is in the unit of x and common to all values, which suits values
    that share a unit: with a normal density, a linear decoder and a standard normal prior it is
    probabilistic PCA. One per variable is factor analysis, the same in every unit.

    Args:
        shape: Shape of one observation.
        noise: Source of :math:`\sigma`: "fixed", one "learned" number for all values, one
            "per_variable", or "per_pixel" from the decoder, :math:`\sigma_i(z)`.
        scale: Fixed or initial :math:`\sigma`, in the unit of x; "data" for a fraction of the
            data's scale: 1 in tables, 0.3 in images, 0.1 where it is fixed. The data's scale is
            :math:`s_i`, or their root mean square where one number is learned.

    Attributes:
        family: Name of the density of one value.
        unit: Unit of location and scale where there is no standardisation.
        standardisation: :math:`m` and :math:`s`; None for 0 and the ``unit``.

    References:
        Tipping and Bishop (1999), *Probabilistic Principal Component Analysis*,
        doi:10.1111/1467-9868.00196; Rubin and Thayer (1982), *EM Algorithms for ML Factor
        Analysis*, doi:10.1007/BF02293851.
    """

    family: str
    unit: float = 1.0
    noise: Noise
    raw_scale: Tensor
    standardisation: Standardisation | None

    def __init__(self, shape: Sequence[int], noise: Noise = "learned", scale: Scale = 0.1) -> None:
        super().__init__()
        self.event_dim = len(shape)
        self.noise = noise
        self.standardisation = None
        self.in_units = scale == "data"
        self.outputs = 2 if noise == "per_pixel" else 1
        self.formula = f"{self.family}(loc(z), {self._describe(scale)})"
        if scale == "data":
            start = START_OF_TABLES if len(shape) == 1 else START_OF_IMAGES
            scale = FIXED if noise == "fixed" else start
        raw = torch.full(tuple(shape) if noise == "per_variable" else (), raw_scale(scale))
        if noise in ("learned", "per_variable"):
            self.raw_scale = nn.Parameter(raw)
        else:
            self.register_buffer("raw_scale", raw, persistent=False)

    @abstractmethod
    def density(self, loc: Tensor, scale: Tensor) -> TorchDistributionMixin:
        """Density of each value."""

    def forward(self, outputs: Float[Tensor, " ..."]) -> TorchDistributionMixin:
        """p(x | z) from ``(*batch, 1, *shape)``, or ``(*batch, 2, *shape)`` per pixel."""
        loc, *raw = outputs.unbind(-1 - self.event_dim)
        scale = positive(self.raw_scale + raw[0] if raw else self.raw_scale)
        units = self.standardisation
        loc = self.unit * loc if units is None else units.inverse(loc)
        return self.density(loc, self._noise_unit() * scale).to_event(self.event_dim)

    def _noise_unit(self) -> Tensor | float:
        """Scale of the data, or their common one where the noise is common."""
        if self.standardisation is None or not self.in_units:
            return self.unit
        scale = self.standardisation.scale
        return scale.square().mean().sqrt() if self.noise == "learned" else scale

    def outputs_at(self, mean: Float[Tensor, " ..."]) -> Float[Tensor, "outputs ..."]:
        """The mean is the location; a scale per pixel stays where it starts."""
        units = self.standardisation
        loc = mean / self.unit if units is None else units(mean)
        return torch.stack([loc, torch.zeros_like(loc)][: self.outputs])

    def _describe(self, scale: Scale) -> str:
        match self.noise:
            case "fixed":
                return f"{FIXED:g} of the data's scale" if scale == "data" else f"{scale:g}"
            case "learned":
                return "one learned scale"
            case "per_variable":
                return "a learned scale for each variable"
            case "per_pixel":
                return "scale(z)"
            case _:
                assert_never(self.noise)
