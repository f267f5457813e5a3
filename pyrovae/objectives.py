"""What is optimised: Pyro's evidence lower bounds, with their terms kept for reporting.

Both are SGVB estimators of Kingma and Welling (2014), arXiv:1312.6114: :class:`SampledELBO`
is their estimator A (equation 6), :class:`AnalyticELBO` their estimator B (equation 7), whose
KL is integrated by hand and only the reconstruction sampled.

They differ from Pyro's own in two ways and in no number: they return the terms of the bound
beside the loss, and they leave every number on its device (Pyro's call ``.item()`` in each
step, for which a GPU has to wait).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from pyro.distributions.util import is_identically_zero, scale_and_mask
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO
from pyro.poutine.messenger import Messenger
from pyro.poutine.scale_messenger import ScaleMessenger
from pyro.poutine.trace_struct import Trace
from torch import Tensor

from pyrovae.autoencoder import Autoencoder, Site, Traces, latent_sites, observed_sites
from pyrovae.errors import SpecError
from pyrovae.randomness import seeded
from pyrovae.specs.objectives import ELBOSpec
from pyrovae.terms import Terms, average, exact_kl, terms


class LatentScale(ScaleMessenger):
    """``poutine.scale`` for the latent sites alone, which is what β is.

    Wrapped around model *and* guide: ``TraceMeanField_ELBO`` reads the guide's scale,
    ``Trace_ELBO`` both. ``poutine.scale`` refuses zero; here β = 0 is the plain autoencoder.

    Args:
        beta: Weight of the KL; a tensor may change between runs of the program.
    """

    def __init__(self, beta: float | Tensor) -> None:
        Messenger.__init__(self)
        self.scale = beta

    def _process_message(self, msg: Any) -> None:
        if msg["type"] == "sample" and not msg["is_observed"]:
            super()._process_message(msg)


class Objective(Trace_ELBO):
    """A Pyro ELBO that also returns what it is made of.

    Attributes:
        pyro_name: Pyro's estimator of the same numbers.
    """

    pyro_name: str

    def loss_and_terms(
        self, autoencoder: Autoencoder, x: Tensor, beta: float | Tensor = 1.0
    ) -> tuple[Tensor, Terms]:
        """The loss in nats per datum, for ``backward()``, and the terms of the bound at β = 1.

        Args:
            autoencoder: Model and guide.
            x: A batch of data, ``(batch, *shape)``.
            beta: Weight of the KL in the loss.
        """
        losses, parts = [], []
        scaled = LatentScale(beta)
        model, guide = scaled(autoencoder.model), scaled(autoencoder.guide)
        for model_trace, guide_trace in self._get_traces(model, guide, (x,), {}):
            losses.append(self._loss(model_trace, guide_trace))
            with torch.no_grad():
                parts.append(terms(model_trace, guide_trace, len(x)))
        return torch.stack(losses).sum() / (self.num_particles * len(x)), average(parts)

    def differentiable_loss(self, model: Any, guide: Any, *args: Any, **kwargs: Any) -> Tensor:
        """The loss summed over the data, in nats; as Pyro's, but without waiting for it."""
        traces = self._get_traces(model, guide, args, kwargs)
        return torch.stack([self._loss(m, g) for m, g in traces]).sum() / self.num_particles

    def _differentiable_loss_particle(
        self, model_trace: Trace, guide_trace: Trace
    ) -> tuple[Tensor, Tensor]:
        loss = self._loss(model_trace, guide_trace)
        return loss.detach(), loss

    @abstractmethod
    def _loss(self, model_trace: Trace, guide_trace: Trace) -> Tensor:
        """Negative bound of one particle, with its value and its gradient."""


class SampledELBO(Objective):
    r"""``Trace_ELBO``: the KL sampled like the reconstruction; right for any pair of programs.

    .. math::
        \frac1L \sum_l \log p(x \mid z^l) + \beta \log p(z^l) - \beta \log q(z^l \mid x),
        \qquad z^l \sim q(z \mid x)
    """

    pyro_name = "Trace_ELBO"

    def _loss(self, model_trace: Trace, guide_trace: Trace) -> Tensor:
        parts = [site["score_parts"] for site in _sample_sites(guide_trace)]
        if any(not is_identically_zero(part.score_function) for part in parts):
            # A site that cannot be reparameterised: Pyro's score-function estimator.
            particle = Trace_ELBO._differentiable_loss_particle
            loss: Any
            value, loss = particle(self, model_trace, guide_trace)
            return loss + (value - loss).detach()
        log_q = torch.stack([part.entropy_term.sum() for part in parts]).sum()
        log_p: Any = model_trace.log_prob_sum()
        return log_q - log_p


class AnalyticELBO(Objective, TraceMeanField_ELBO):
    r"""``TraceMeanField_ELBO``: the KL in closed form, which has less variance.

    .. math::
        \frac1L \sum_l \log p(x \mid z^l) - \beta \operatorname{KL}(q(z \mid x), p(z)),
        \qquad z^l \sim q(z \mid x)
    """

    pyro_name = "TraceMeanField_ELBO"

    def _loss(self, model_trace: Trace, guide_trace: Trace) -> Tensor:
        observed = [model_trace.nodes[name] for name in observed_sites(model_trace)]
        loss = -torch.stack([site["log_prob_sum"] for site in observed]).sum()
        for name in latent_sites(model_trace):
            q: Site = guide_trace.nodes[name]
            p: Site = model_trace.nodes[name]
            kl = exact_kl(q["fn"], p["fn"])
            if kl is None:
                raise SpecError(f"the KL at site '{name}' has no closed form: use SampledELBO")
            loss = loss + scale_and_mask(kl, scale=q["scale"], mask=q["mask"]).sum()
        return loss


def build_objective(spec: ELBOSpec, autoencoder: Autoencoder, x: Tensor) -> Objective:
    """The estimator that a specification asks for, for these programs.

    Args:
        spec: The specification.
        autoencoder: Model and guide; both run once.
        x: A few data, on the programs' device.

    Raises:
        SpecError: An analytic KL is asked for and cannot be had; names guide, prior and reason.
    """
    obstacles = analytic_obstacles(autoencoder, x)
    if spec.kl == "analytic" and obstacles:
        site, reason = next(iter(obstacles.items()))
        formulas = autoencoder.formulas()
        raise SpecError(
            f"inference.objective.kl = 'analytic' cannot work for the guide, {formulas.guide}, "
            f"and the prior, {formulas.prior}: {reason} at site '{site}'; choose 'auto' or "
            "'sampled'"
        )
    estimator = SampledELBO if obstacles or spec.kl == "sampled" else AnalyticELBO
    if spec.particles > 1 and autoencoder.vectorisable:
        return estimator(spec.particles, max_plate_nesting=1, vectorize_particles=True)
    return estimator(spec.particles)


def analytic_obstacles(autoencoder: Autoencoder, x: Tensor) -> dict[str, str]:
    """For each latent site for which :class:`AnalyticELBO` is not right: why."""
    obstacles = {}
    for site, (q, p) in _latent_pairs(autoencoder, x).items():
        if exact_kl(q, p) is None:
            obstacles[site] = "the KL has no closed form"
        elif not q.has_rsample:
            obstacles[site] = "draws cannot be reparameterised"
    return obstacles


def exact_sites(autoencoder: Autoencoder, x: Tensor) -> dict[str, bool]:
    """For each latent site, whether its KL has a closed form."""
    pairs = _latent_pairs(autoencoder, x)
    return {site: exact_kl(q, p) is not None for site, (q, p) in pairs.items()}


def _latent_pairs(autoencoder: Autoencoder, x: Tensor) -> dict[str, tuple[Any, Any]]:
    """Guide's and model's distribution at each latent site."""
    with torch.no_grad(), seeded(0, x.device):
        traces = Traces.of(autoencoder, x)
    q: Mapping[str, Site] = traces.guide.nodes
    p: Mapping[str, Site] = traces.model.nodes
    return {site: (q[site]["fn"], p[site]["fn"]) for site in latent_sites(traces.model)}


def _sample_sites(trace: Trace) -> list[Site]:
    return [site for site in trace.nodes.values() if site["type"] == "sample"]
