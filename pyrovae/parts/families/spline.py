"""Neural spline flow."""

from __future__ import annotations

from collections.abc import Sequence

from pyrovae.errors import SpecError
from pyrovae.parts.distributions.flows import autoregressive
from pyrovae.parts.families.flow import FlowFamily


class SplineFlow(FlowFamily):
    r"""Neural spline flow with coupling layers: a spline in each dimension, given the others.

    .. math::
        T = T_L \circ \dots \circ T_1, \qquad
        T_l(y)_d = \begin{cases}
        f(y_d \mid h) & d \text{ in the first half} \\
        f(y_d \mid y_\text{first half}, h) & d \text{ in the second half}
        \end{cases}

    :math:`f` is a monotonic rational-quadratic spline on [-5, 5], the identity outside, where
    standard normal noise hardly ever is. The halves change places from layer to layer. Two passes
    invert a layer, whatever the length of the latent.

    Args:
        features: Length of the feature vector.
        dims: Length of the latent; even, as the middle one of an odd number would never be
            conditioned on the others.
        layers: Number of transformations :math:`L`.
        widths: Hidden units of the network in each.
        correlated: Whether the affine map behind :math:`T` is that of a full-rank normal.

    Raises:
        SpecError: The latent has an odd length.

    References:
        Durkan et al. (2019), *Neural Spline Flows*, arXiv:1906.04032.
    """

    def __init__(
        self,
        features: int,
        dims: int,
        layers: int = 3,
        widths: Sequence[int] = (64, 64),
        *,
        correlated: bool = False,
    ) -> None:
        if dims % 2:
            raise SpecError(
                f"latent_dim = {dims}: 'spline' couples two halves of the latent; choose an even "
                f"length, such as {dims + 1}, or 'iaf'"
            )
        transform = autoregressive(
            "spline", dims, features, layers=layers, widths=widths, coupling=True
        )
        super().__init__(features, dims, transform, correlated=correlated)
        self.formula = (
            f"neural spline flow of {layers} coupling layers"
            + ", behind it a full-rank affine map" * correlated
        )
