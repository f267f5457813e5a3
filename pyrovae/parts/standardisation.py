"""Standardisation of real-valued data inside an autoencoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Standardisation(nn.Module):
    r"""Location and scale of the data, kept with the weights.

    .. math::
        y = \frac{x - m}{s}

    Variables of a table differ in unit, so each has its own :math:`m_i` and :math:`s_i`; the
    values of an image share a unit, so they share one of each. Reports are in the units of x: the
    encoder sees :math:`y`, but p(x | z) stays a density of x.

    Args:
        shape: Shape of one observation.

    Attributes:
        loc: :math:`m`, ``(columns,)`` or ``(1, 1, 1)``; 0 until data are given.
        scale: :math:`s`, of the same shape; 1 until data are given.
    """

    loc: Tensor
    scale: Tensor

    def __init__(self, shape: Sequence[int], unit: float = 1.0) -> None:
        super().__init__()
        self.unit = unit
        units = tuple(shape) if len(shape) == 1 else (1,) * len(shape)
        self.register_buffer("loc", torch.zeros(units))
        self.register_buffer("scale", torch.full(units, unit))

    def forward(self, x: Float[Tensor, " ..."]) -> Float[Tensor, " ..."]:
        """Standardised data ``(*batch, *shape)``."""
        return (x - self.loc) / self.scale

    def inverse(self, y: Float[Tensor, " ..."]) -> Float[Tensor, " ..."]:
        """The data ``(*batch, *shape)`` of which ``y`` is the standardised form."""
        return self.loc + self.scale * y

    @torch.no_grad()
    def fit(self, mean: Float[Tensor, " *shape"], deviation: Float[Tensor, " *shape"]) -> None:
        """Set location and scale to those of data.

        Values that are the same in all data have no scale; they are only centred.

        Args:
            mean: Mean of each value over the data.
            deviation: Standard deviation of each value over the data.
        """
        variance = deviation.square()
        if mean.ndim > 1:
            variance = (variance + (mean - mean.mean()).square()).mean()
            mean = mean.mean()
        self.loc.copy_(mean)
        self.scale.copy_(variance.sqrt())
        self.scale[self.scale == 0] = 1.0
