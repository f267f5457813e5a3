"""The evidence lower bound with the guide's discrete latents summed exactly."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from pyrovae.objectives.bound import Bound
from pyrovae.objectives.requirements import ENUMERABLE, Requirement
from pyrovae.programs.densities import Densities
from pyrovae.programs.enumeration import enumerated


class EnumeratedELBO(Bound):
    r"""``TraceEnum_ELBO``: the expectation over discrete latents as a sum over their values.

    .. math::
        \frac1L \sum_l \sum_k q(k \mid x) \Big( \log p(x \mid k, z^l) - \beta \log
        \frac{q(k \mid x)}{p(k)} - \beta \operatorname{KL}(q(z \mid x, k), p(z \mid k)) \Big),
        \qquad z^l \sim q(z \mid x, k)

    Its gradient has no noise of discrete draws. Other latents are drawn, reparameterised; their KL
    is in closed form where there is one. Discrete latents of the model alone are summed out of
    p(x, z) under every objective.

    The values of all discrete latents are computed in parallel, so a guide with a class of K
    values costs K times as much, and one with two classes of K values K² times.

    References:
        Obermeyer et al. (2019), *Tensor Variable Elimination for Plated Factor Graphs*,
        arXiv:1902.03210; Kingma et al. (2014), *Semi-supervised Learning with Deep Generative
        Models*, arXiv:1406.5298.
    """

    needs: tuple[Requirement, ...] = (ENUMERABLE,)
    title = "ELBO (TraceEnum_ELBO: discrete latents summed)"

    def bound(self, found: Densities, beta: float | Tensor) -> Tensor:
        """The mean over particles, ``(data,)``."""
        return (found.reconstruction - beta * found.kl).mean(0)

    def _get_trace(self, model: Any, guide: Any, args: Any, kwargs: Any) -> Any:
        return super()._get_trace(model, enumerated(guide), args, kwargs)
