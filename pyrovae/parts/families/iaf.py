"""Inverse autoregressive flow."""

from __future__ import annotations

from collections.abc import Sequence

from pyrovae.parts.distributions.flows import autoregressive
from pyrovae.parts.families.flow import FlowFamily


class InverseAutoregressiveFlow(FlowFamily):
    r"""Inverse autoregressive flow: affine in each dimension, given the noise before it.

    .. math::
        T = T_L \circ \dots \circ T_1, \qquad
        T_l(y)_d = m_{ld}(y_{<d}, h) + s_{ld}(y_{<d}, h) \, y_d

    The order of the dimensions is reversed from layer to layer. The density of a latent that is
    not the flow's own draw takes ``dims`` passes: a prior, or a VampPrior's guide, which needs it
    in every step, goes better with the spline flow.

    Args:
        features: Length of the feature vector.
        dims: Length of the latent.
        layers: Number of transformations :math:`L`.
        widths: Hidden units of the network in each.
        correlated: Whether the affine map behind :math:`T` is that of a full-rank normal.

    References:
        Kingma et al. (2016), *Improving Variational Inference with Inverse Autoregressive Flow*,
        arXiv:1606.04934.
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
        transform = autoregressive("affine", dims, features, layers=layers, widths=widths)
        super().__init__(features, dims, transform, correlated=correlated)
        self.formula = (
            f"inverse autoregressive flow of {layers} layers"
            + ", behind it a full-rank affine map" * correlated
        )
