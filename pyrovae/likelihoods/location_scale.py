"""What likelihoods of values around the decoder's output share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import assert_never

import torch
from jaxtyping import Float
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor, nn

from pyrovae.likelihoods.abstract import Likelihood
from pyrovae.scale import positive, raw_scale
from pyrovae.specs.likelihoods import Noise


class LocationScaleLikelihood(Likelihood):
    r"""Independent values around the decoder's output.

    .. math::
        p(x \mid z) = \prod_i p\left(x_i \mid f_i(z), s_i\right)

    The location is the decoder's output as it is, not squeezed into an interval: data may lie
    anywhere.

    Args:
        shape: Shape of one observation.
        noise: Where :math:`s` comes from: "fixed", one "learned" number for all values, or
            "per_pixel" from the decoder, :math:`s_i(z)`.
        scale: :math:`s` where it is fixed, and where it starts otherwise.

    Attributes:
        family: Name of the density of one value.
    """

    family: str
    noise: Noise
    raw_scale: Tensor

    def __init__(self, shape: Sequence[int], noise: Noise = "learned", scale: float = 0.1) -> None:
        super().__init__()
        self.event_dim = len(shape)
        self.noise = noise
        self.outputs = 2 if noise == "per_pixel" else 1
        self.formula = f"{self.family}(loc(z), {self._describe(scale)})"
        start = torch.tensor(raw_scale(scale))
        if noise == "learned":
            self.raw_scale = nn.Parameter(start)
        else:
            self.register_buffer("raw_scale", start, persistent=False)

    @abstractmethod
    def density(self, loc: Tensor, scale: Tensor) -> TorchDistributionMixin:
        """The density of each value by itself."""

    def forward(self, outputs: Float[Tensor, " ..."]) -> TorchDistributionMixin:
        """p(x | z) from ``(*batch, 1, *shape)``, or ``(*batch, 2, *shape)`` per pixel."""
        loc, *raw = outputs.unbind(-1 - self.event_dim)
        scale = positive(self.raw_scale + raw[0] if raw else self.raw_scale)
        return self.density(loc, scale).to_event(self.event_dim)

    def outputs_at(self, mean: Float[Tensor, " ..."]) -> Float[Tensor, "outputs ..."]:
        """The mean is the location; a scale per pixel stays where it starts."""
        return torch.stack([mean, torch.zeros_like(mean)][: self.outputs])

    def _describe(self, scale: float) -> str:
        match self.noise:
            case "fixed":
                return f"{scale:g}"
            case "learned":
                return "one learned scale"
            case "per_pixel":
                return "scale(z)"
            case _:
                assert_never(self.noise)
