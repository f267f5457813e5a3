"""Importance-weighted and Rényi bounds, with three estimators of their gradient."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from pyro import poutine
from pyro.infer.util import is_validation_enabled
from pyro.poutine.trace_struct import Trace
from torch import Tensor

from pyrovae.errors import SpecError
from pyrovae.objectives.abstract import check_traces
from pyrovae.objectives.bound import Bound
from pyrovae.objectives.requirements import DENSITY, REPARAMETERISED, Requirement
from pyrovae.programs.densities import Densities, Reduced, has_own_scale
from pyrovae.programs.log_density import log_density
from pyrovae.programs.plates import Plates
from pyrovae.programs.traces import Site, Traces, density_sites, sites_by_role
from pyrovae.specs.objectives import Gradient


class RenyiBound(Bound):
    r"""Bound on log p(x) from several importance-weighted particles, per observation.

    .. math::
        \mathcal{L}_\alpha(x) = \frac{1}{1 - \alpha}
        \log \frac1K \sum_{k=1}^K w_k^{1 - \alpha}, \qquad
        w_k = \frac{p(x, z_k)}{q(z_k \mid x)}, \quad z_k \sim q(z \mid x)

    With :math:`\alpha = 0` it is the importance-weighted bound of the IWAE: with one particle
    the ELBO, with more of them closer and closer to log p(x). The limit :math:`\alpha \to 1` is
    the ELBO again, whatever K.

    The gradient for the guide's parameters φ, with :math:`\hat w` the normalised
    :math:`w^{1 - \alpha}`, is by choice

    - "plain": automatic differentiation of the bound. As K grows its signal-to-noise ratio
      vanishes (Rainforth et al. 2018, arXiv:1802.04537), because of the score
      :math:`\partial_\varphi \log q(z \mid x)` at fixed z, whose mean at K = 1 is zero.
    - "stl", sticking the landing: the score left out. Unbiased for one particle; for more it
      is **biased** (Tucker et al., section 3), though often useful.
    - "dreg", doubly reparameterised: the score replaced by an expression of the same mean.
      Unbiased for any K; each path through z weighs
      :math:`\hat w_k (1 - \beta (1 - \alpha) (1 - \hat w_k))`, which is :math:`\hat w_k^2` for the
      IWAE at β = 1.

    The parameters of the model always have the plain gradient, and so do the terms of a VampPrior
    that depend on the guide directly.

    Args:
        num_particles: :math:`K`.
        alpha: Order :math:`\alpha`.
        gradient: Estimator of the gradient.
        options: Options of Pyro's ``ELBO``.

    Raises:
        ValueError: α = 1.

    References:
        Burda, Grosse and Salakhutdinov (2016), *Importance Weighted Autoencoders*,
        arXiv:1509.00519; Li and Turner (2016), *Rényi Divergence Variational Inference*,
        arXiv:1602.02311; Roeder, Wu and Duvenaud (2017), *Sticking the Landing*,
        arXiv:1703.09194; Tucker et al. (2019), *Doubly Reparameterized Gradient Estimators*,
        arXiv:1810.04152.
    """

    needs: tuple[Requirement, ...] = (DENSITY, REPARAMETERISED)
    sampled = True

    def __init__(
        self,
        num_particles: int = 5,
        alpha: float = 0.0,
        gradient: Gradient = "plain",
        **options: Any,
    ) -> None:
        if alpha == 1:
            raise ValueError("alpha = 1 is the ELBO: use SampledELBO or AnalyticELBO")
        super().__init__(num_particles, **options)
        self.alpha = alpha
        self.gradient = gradient
        name = "importance-weighted bound" if alpha == 0 else f"Rényi bound of order {alpha:g}"
        self.title = f"{name} ({gradient} gradient)"

    def bound(self, found: Densities, beta: float | Tensor) -> Tensor:
        """The bound, ``(data,)``, the log-density of latents times β."""
        log_weights = found.reconstruction + beta * (found.log_prior - found.log_guide)
        bound = self.of_weights(log_weights)
        if self.gradient == "plain":
            return bound
        surrogate = self._surrogate(found, log_weights, beta)
        return bound.detach() + surrogate - surrogate.detach()

    def of_weights(self, log_weights: Tensor) -> Tensor:
        """The bound ``(data,)`` from log-weights ``(particles, data)``."""
        powers = (1 - self.alpha) * log_weights
        return (powers.logsumexp(0) - math.log(len(powers))) / (1 - self.alpha)

    def _surrogate(self, found: Densities, log_weights: Tensor, beta: float | Tensor) -> Tensor:
        """Surrogate ``(data,)`` with the chosen gradient; its value has no meaning."""
        if found.reduced.scaled and any(map(has_own_scale, found.traces)):
            raise SpecError(
                f"gradient = '{self.gradient}' needs programs without a poutine.scale of their "
                "own: choose gradient 'plain'"
            )
        weights = ((1 - self.alpha) * log_weights).detach().softmax(0)
        path = torch.ones_like(weights)
        if self.gradient == "dreg":
            path = 1 - beta * (1 - self.alpha) * (1 - weights)
        if torch.is_grad_enabled():
            runs = path.split(len(path) // len(found.traces))
            for traces, factor in zip(found.traces, runs, strict=True):
                _weigh_paths(traces, factor, found.reduced.plates)
        # What is left of log q's gradient without the score is the one through z.
        direct = torch.cat([_direct_log_q(traces, found.reduced) for traces in found.traces])
        log_p = found.reconstruction + beta * found.log_prior
        return (weights * (log_p - path * beta * (found.log_guide - direct))).sum(0)

    def _get_trace(self, model: Any, guide: Any, args: Any, kwargs: Any) -> Any:
        if self.gradient == "plain":
            return super()._get_trace(model, guide, args, kwargs)
        guided = poutine.trace(guide).get_trace(*args, **kwargs)
        branched = poutine.replay(model, trace=_with_values(guided, Tensor.clone))
        traces = Traces(poutine.trace(branched).get_trace(*args, **kwargs), guided)
        if is_validation_enabled():
            check_traces(traces, self.max_plate_nesting)
        if len(density_sites(guided)) == 1:
            return traces
        # A latent that depends on another one: only a run at constants holds its density fixed.
        constant = poutine.replay(guide, trace=_with_values(guided, Tensor.detach))
        return replace(traces, fixed=poutine.trace(constant).get_trace(*args, **kwargs))


def _direct_log_q(traces: Traces, reduced: Reduced) -> Tensor:
    """Log q(z | x), ``(particles, data)``, as a function of the guide's parameters alone."""
    guide = traces.guide if traces.fixed is None else traces.fixed
    total = torch.zeros((), dtype=torch.float64)
    for site in density_sites(guide).values():
        fixed = {**site, "value": site["value"].detach()}
        total = total + reduced(log_density(fixed), site)
    return total


def _with_values(guide: Trace, change: Callable[[Tensor], Tensor]) -> Trace:
    """Return the trace with copies of its latents.

    Clones keep the model's gradient paths separate; constants have none.
    """
    changed = guide.copy()
    for name, site in sites_by_role(guide, "latent").items():
        changed.nodes[name] = site | {"value": change(site["value"])}
    return changed


def _weigh_paths(traces: Traces, factor: Tensor, plates: Plates) -> None:
    """Multiply the gradient that comes back through each latent by a factor for each of them."""
    for name in traces.latent:
        site: Site = traces.model.nodes[name]
        z, event_dim = site["value"], site["fn"].event_dim
        spread = plates.spread(factor, z.shape[: z.ndim - event_dim])
        weight = spread.reshape(spread.shape + (1,) * event_dim).to(z.dtype)
        if z.requires_grad:
            z.register_hook(lambda gradient, weight=weight: gradient * weight)
