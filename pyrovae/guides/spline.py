"""Neural spline flow."""

from __future__ import annotations

from collections.abc import Sequence

from pyrovae.errors import SpecError
from pyrovae.flows import autoregressive
from pyrovae.guides.flow import FlowGuide
from pyrovae.networks import Encoder


class SplineGuide(FlowGuide):
    r"""Neural spline flow with coupling layers: a spline in each dimension, given the others.

    .. math::
        T = T_L \circ \dots \circ T_1, \qquad
        T_l(y)_d = \begin{cases}
        f(y_d \mid h(x)) & d \text{ in the first half} \\
        f(y_d \mid y_\text{first half}, h(x)) & d \text{ in the second half}
        \end{cases}

    :math:`f` is a monotonic rational-quadratic spline on [-5, 5], the identity outside, where
    standard normal noise hardly ever is. The halves change places from layer to layer. Two passes
    invert a layer, whatever the length of the code.

    Args:
        encoder: Network from data to features.
        latent_dim: Length of the code; even, as the middle one of an odd number would never be
            conditioned on the others.
        layers: Number of transformations :math:`L`.
        widths: Hidden units of the network in each.

    Raises:
        SpecError: The code has an odd length.

    References:
        Durkan et al. (2019), *Neural Spline Flows*, arXiv:1906.04032.
    """

    def __init__(
        self,
        encoder: Encoder,
        latent_dim: int,
        layers: int = 3,
        widths: Sequence[int] = (64, 64),
    ) -> None:
        if latent_dim % 2:
            raise SpecError(
                f"model.latent_dim = {latent_dim}: inference.guide 'spline' couples two halves of "
                f"the code; choose an even length, such as {latent_dim + 1}, or "
                "inference.guide.kind 'iaf'"
            )
        transform = autoregressive(
            "spline", latent_dim, encoder.features, layers=layers, widths=widths, coupling=True
        )
        super().__init__(encoder, latent_dim, transform)
        self.formula = f"neural spline flow of {layers} coupling layers"
