"""Importance-weighted and Rényi bounds, with three estimators of their gradient."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from pyro import poutine
from pyro.distributions.util import scale_and_mask
from pyro.infer.util import is_validation_enabled
from pyro.poutine.trace_struct import Trace
from pyro.poutine.util import prune_subsample_sites
from pyro.util import check_model_guide_match
from torch import Tensor

from pyrovae.autoencoder import Autoencoder, Site, Traces, latent_sites, observed_sites
from pyrovae.compatibility import DENSITY, ONE_SITE, REPARAMETERISED, Need
from pyrovae.objectives.abstract import Objective
from pyrovae.objectives.scaling import beta_of, data_scale, plate_scale
from pyrovae.specs.objectives import Gradient


class RenyiBound(Objective):
    r"""Bound on log p(x) from several importance-weighted particles, datum by datum.

    .. math::
        \mathcal{L}_\alpha(x) = \frac{1}{1 - \alpha}
        \log \frac1K \sum_{k=1}^K w_k^{1 - \alpha}, \qquad
        w_k = \frac{p(x, z_k)}{q(z_k \mid x)}, \quad z_k \sim q(z \mid x)

    With :math:`\alpha = 0` it is the importance-weighted bound of the IWAE: with one particle
    the ELBO, with more of them closer and closer to log p(x). The limit :math:`\alpha \to 1` is
    the ELBO again, whatever K.

    The gradient for the guide's parameters φ, with :math:`\hat w` the normalised
    :math:`w^{1 - \alpha}`, is by choice

    - "plain": automatic differentiation of the bound. As K grows it drowns in its own noise
      (Rainforth et al. 2018, arXiv:1802.04537), because of the score :math:`\partial_\varphi
      \log q(z \mid x)` at fixed z, whose mean at K = 1 is zero.
    - "stl", sticking the landing: the score left out. Unbiased for one particle; for more it
      is **biased** (Tucker et al., section 3), though often useful.
    - "dreg", doubly reparameterised: the score replaced by what it is in the mean. Unbiased
      for any K; each path through z weighs
      :math:`\hat w_k (1 - \beta (1 - \alpha) (1 - \hat w_k))`, which is
      :math:`\hat w_k^2` for the IWAE at β = 1.

    The parameters of the model always have the plain gradient, and so does what a VampPrior
    takes directly from the guide.

    Args:
        num_particles: :math:`K`.
        alpha: Order :math:`\alpha`.
        gradient: Its estimator.
        options: Of Pyro's ``ELBO``.

    Raises:
        ValueError: α = 1.

    References:
        Burda, Grosse and Salakhutdinov (2016), *Importance Weighted Autoencoders*,
        arXiv:1509.00519; Li and Turner (2016), *Rényi Divergence Variational Inference*,
        arXiv:1602.02311; Roeder, Wu and Duvenaud (2017), *Sticking the Landing*,
        arXiv:1703.09194; Tucker et al. (2019), *Doubly Reparameterized Gradient Estimators*,
        arXiv:1810.04152.
    """

    needs: tuple[Need, ...] = (DENSITY, REPARAMETERISED)

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
        if gradient != "plain":
            self.needs = (*self.needs, ONE_SITE)
        name = "importance-weighted bound" if alpha == 0 else f"Rényi bound of order {alpha:g}"
        self.title = f"{name} ({gradient} gradient)"

    def bound(self, log_weights: Tensor) -> Tensor:
        """The bound ``(data,)`` from log-weights ``(particles, data)``."""
        powers = (1 - self.alpha) * log_weights
        return (powers.logsumexp(0) - math.log(len(powers))) / (1 - self.alpha)

    def _loss(self, traces: Sequence[Traces]) -> Tensor:
        parts = _concatenate([_log_densities(trace) for trace in traces])
        bound = self.bound(parts.log_p - parts.log_q)
        if self.gradient != "plain":
            surrogate = self._surrogate(parts, traces)
            bound = bound.detach() + surrogate - surrogate.detach()
        return -(bound * data_scale(traces[0])).sum()

    def _surrogate(self, parts: LogDensities, traces: Sequence[Traces]) -> Tensor:
        """Something ``(data,)`` with the gradient asked for; its value means nothing."""
        weights = ((1 - self.alpha) * (parts.log_p - parts.log_q)).detach().softmax(0)
        path = torch.ones_like(weights)
        if self.gradient == "dreg":
            path = 1 - beta_of(traces[0]) * (1 - self.alpha) * (1 - weights)
        if torch.is_grad_enabled():
            for trace, factor in zip(traces, path.split(len(path) // len(traces)), strict=True):
                _weigh_path(_site(trace.model), factor)
        # What is left of log q's gradient without the score is the one through z.
        through_z = parts.log_q - torch.cat([_direct_log_q(trace) for trace in traces])
        return (weights * (parts.log_p - path * through_z)).sum(0)

    def _get_trace(self, model: Any, guide: Any, args: Any, kwargs: Any) -> tuple[Trace, Trace]:
        if self.gradient == "plain":
            return super()._get_trace(model, guide, args, kwargs)
        guide_trace = poutine.trace(guide).get_trace(*args, **kwargs)
        replayed = poutine.replay(model, trace=_branched(guide_trace))
        model_trace = poutine.trace(replayed).get_trace(*args, **kwargs)
        if is_validation_enabled():
            check_model_guide_match(model_trace, guide_trace, self.max_plate_nesting)
        model_trace = prune_subsample_sites(model_trace)
        guide_trace = prune_subsample_sites(guide_trace)
        model_trace.compute_log_prob()
        guide_trace.compute_score_parts()
        return model_trace, guide_trace


def importance_weights(autoencoder: Autoencoder, x: Tensor, particles: int) -> Tensor:
    r"""Log w of fresh draws from the guide, ``(particles, data)``, without a gradient.

    .. math::
        \log w_k = \log p(x, z_k) - \log q(z_k \mid x), \qquad z_k \sim q(z \mid x)

    The guide's network sees each datum once, where the programs let particles be drawn at once.
    """
    with torch.no_grad():
        if not autoencoder.vectorisable:
            # Each datum as often as there are particles; a plate has room for any number.
            repeated = x.repeat(particles, *(1 for _ in x.shape[1:]))
            return _log_weights(RenyiBound(1), autoencoder, repeated).reshape(particles, len(x))
        bound = RenyiBound(particles, max_plate_nesting=1, vectorize_particles=True)
        return _log_weights(bound, autoencoder, x)


def _log_weights(bound: RenyiBound, autoencoder: Autoencoder, x: Tensor) -> Tensor:
    (trace,) = bound._all_traces(autoencoder.model, autoencoder.guide, (x,), {})
    parts = _log_densities(trace)
    return parts.log_p - parts.log_q


class LogDensities(NamedTuple):
    """log p(x, z) and log q(z | x), ``(particles, data)``, latent sites scaled by β."""

    log_p: Tensor
    log_q: Tensor


def _log_densities(trace: Traces) -> LogDensities:
    model = [*latent_sites(trace.model), *observed_sites(trace.model)]
    return LogDensities(
        _sum([trace.model.nodes[name] for name in model]),
        _sum([trace.guide.nodes[name] for name in latent_sites(trace.guide)]),
    )


def _sum(sites: list[Site]) -> Tensor:
    """Log-densities with β but without the plate's scale, ``(particles, data)``."""
    total = torch.stack([site["log_prob"] / plate_scale(site) for site in sites]).sum(0)
    return total if total.ndim > 1 else total.unsqueeze(0)


def _concatenate(parts: list[LogDensities]) -> LogDensities:
    return LogDensities(*(torch.cat(column) for column in zip(*parts, strict=True)))


def _direct_log_q(trace: Traces) -> Tensor:
    """β log q(z | x), ``(particles, data)``, as a function of q's parameters alone."""
    site = _site(trace.guide)
    value = site["fn"].log_prob(site["value"].detach())
    value = scale_and_mask(value, site["scale"], site["mask"]) / plate_scale(site)
    return value if value.ndim > 1 else value.unsqueeze(0)


def _branched(guide: Trace) -> Trace:
    """The trace with another tensor of the same value, so that the model's paths are its own."""
    branched = guide.copy()
    for name in latent_sites(guide):
        site: Site = guide.nodes[name]
        branched.nodes[name] = site | {"value": site["value"].clone()}
    return branched


def _weigh_path(site: Site, factor: Tensor) -> None:
    """Multiply the gradient that comes back through a code by a factor for each."""
    z, event_dim = site["value"], site["fn"].event_dim
    factor = factor.reshape(z.shape[: z.ndim - event_dim] + (1,) * event_dim)
    if z.requires_grad:
        z.register_hook(lambda gradient: gradient * factor)


def _site(trace: Trace) -> Site:
    """The latent site; there is one."""
    return trace.nodes[latent_sites(trace)[0]]
