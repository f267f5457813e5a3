"""Inverse autoregressive flow."""

from __future__ import annotations

from collections.abc import Sequence

from pyrovae.flows import autoregressive
from pyrovae.guides.flow import FlowGuide
from pyrovae.networks import Encoder


class IAFGuide(FlowGuide):
    r"""Inverse autoregressive flow: affine in each dimension, given the noise before it.

    .. math::
        T = T_L \circ \dots \circ T_1, \qquad
        T_l(y)_d = m_{ld}(y_{<d}, h(x)) + s_{ld}(y_{<d}, h(x)) \, y_d

    The order of the dimensions is reversed from layer to layer. The density of a code that is
    not the guide's own draw takes ``latent_dim`` passes: a VampPrior, which needs it in every
    step, goes better with the guide ``spline``.

    Args:
        encoder: Network from data to features.
        latent_dim: Length of the code.
        layers: Number of transformations :math:`L`.
        widths: Hidden units of the network in each.

    References:
        Kingma et al. (2016), *Improving Variational Inference with Inverse Autoregressive Flow*,
        arXiv:1606.04934.
    """

    def __init__(
        self,
        encoder: Encoder,
        latent_dim: int,
        layers: int = 3,
        widths: Sequence[int] = (64, 64),
    ) -> None:
        transform = autoregressive(
            "affine", latent_dim, encoder.features, layers=layers, widths=widths
        )
        super().__init__(encoder, latent_dim, transform)
        self.formula = f"inverse autoregressive flow of {layers} layers"
