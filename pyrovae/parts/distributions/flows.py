"""Normalizing flows: transformations of zuko as distributions of Pyro.

The only module that imports zuko.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import pyro.distributions as dist
import torch
from pyro.distributions.transforms import LowerCholeskyAffine
from torch import Tensor, nn
from torch.distributions import Distribution

# zuko switches the validation of arguments off for every distribution of the process.
_validated = Distribution._validate_args
import zuko.flows  # noqa: E402

Distribution.set_default_validate_args(_validated)

Univariate = Literal["affine", "spline"]


class _Draw(NamedTuple):
    value: Tensor
    log_prob: Tensor
    differentiable: bool

    def fits(self) -> bool:
        """Return True if the stored density has the gradients that are needed now."""
        return self.differentiable or not torch.is_grad_enabled()


class FlowDistribution(dist.TransformedDistribution):  # type: ignore[misc]
    r"""Transformed distribution that keeps the log-density of its last draw.

    .. math::
        z = T(\varepsilon), \qquad \log p(z) = \log p(\varepsilon)
        - \log \left| \det \frac{\partial T(\varepsilon)}{\partial \varepsilon} \right|

    Torch's own class inverts :math:`T` to score a draw. This one keeps the density of its
    last draw, so that ``log_prob`` of that very tensor is free, with the gradient that comes
    along the draw as well. Any other tensor, equal or not, is inverted: the gradient of
    ``log_prob(z.detach())`` is the one through the parameters alone.

    Args:
        base_distribution: The noise :math:`p(\varepsilon)`, of vectors, with a batch shape that
            holds those of the contexts which the transformations were made with.
        transforms: :math:`T`, one transformation of vectors or several, from noise to value.

    References:
        Papamakarios et al. (2021), *Normalizing Flows for Probabilistic Modeling and
        Inference*, arXiv:1912.02762.
    """

    _drawn: _Draw | None = None

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Reparameterised draws ``(*sample_shape, *batch, dims)``."""
        noise = self.base_dist.rsample(torch.Size(sample_shape))
        value, log_prob = noise, self.base_dist.log_prob(noise)
        transform: Any  # it is zuko that gives every Transform a call_and_ladj
        for transform in self.transforms:
            value, log_det = transform.call_and_ladj(value)
            log_prob = log_prob - log_det
        self._drawn = _Draw(value, log_prob, torch.is_grad_enabled())
        return value

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density of ``(..., *batch, dims)``."""
        drawn = self._drawn
        if drawn is not None and value is drawn.value and drawn.fits():
            return drawn.log_prob
        if self._validate_args:
            self._validate_sample(value)
        return self._invert_and_score(value)

    def _invert_and_score(self, value: Tensor) -> Tensor:
        total: Tensor | float = 0.0
        transform: Any
        for transform in reversed(self.transforms):
            value, log_det = transform.inv.call_and_ladj(value)
            total = total + log_det
        return self.base_dist.log_prob(value) + total


class TriangularAffine(LowerCholeskyAffine):
    """Affine map by a triangular matrix, one for each element of a batch; Pyro's has but one."""

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """Log of the product of the diagonal, ``(*batch,)``."""
        log_diagonal = torch.diagonal(self.scale_tril, dim1=-2, dim2=-1).log()
        return log_diagonal.sum(-1).expand(x.shape[:-1])

    def forward_shape(self, shape: torch.Size) -> torch.Size:
        """Shape of the output, with the batch shape of the map."""
        return torch.broadcast_shapes(shape, self.loc.shape)

    def inverse_shape(self, shape: torch.Size) -> torch.Size:
        """Shape of the input."""
        return torch.broadcast_shapes(shape, self.loc.shape)


def autoregressive(
    univariate: Univariate,
    features: int,
    context: int = 0,
    *,
    layers: int,
    widths: Sequence[int],
    coupling: bool = False,
) -> nn.Module:
    r"""Masked autoregressive transformations, with the order reversed from layer to layer.

    .. math::
        y_d = f_d(x_d \mid x_{<d}, h)

    :math:`y` from :math:`x` takes one pass, :math:`x` from :math:`y` as many as there are
    features. Coupling conditions the second half of the features on the first, instead of each
    on all that precede it: two passes.

    The last layer of each network starts at zero, and the transformation as the identity.

    Args:
        univariate: :math:`f`: "affine", or "spline", monotonic rational-quadratic on [-5, 5]
            and the identity outside.
        features: Length of :math:`x`.
        context: Length of :math:`h`; 0 for none.
        layers: Number of transformations.
        widths: Hidden units of the networks that give the parameters of :math:`f`.
        coupling: Condition the second half of the features on the first only.

    Returns:
        A module; called with :math:`h` or None it returns the transformation.

    References:
        Papamakarios et al. (2017), *Masked Autoregressive Flow for Density Estimation*,
        arXiv:1705.07057; Durkan et al. (2019), *Neural Spline Flows*, arXiv:1906.04032.
    """
    family = {"affine": zuko.flows.MAF, "spline": zuko.flows.NSF}[univariate]
    passes = 2 if coupling else None
    flow = family(features, context, transforms=layers, passes=passes, hidden_features=widths)
    for layer in flow.transform.transforms:
        # One feature without context has no network: its parameters stand by themselves.
        last = layer.hyper[-1] if hasattr(layer, "hyper") else layer.phi
        for parameter in last.parameters():
            nn.init.zeros_(parameter)
    return flow.transform
