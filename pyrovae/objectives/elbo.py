"""The evidence lower bound, with its KL sampled or in closed form.

Both are SGVB estimators of Kingma and Welling (2014), arXiv:1312.6114: :class:`SampledELBO`
is their estimator A (equation 6), :class:`AnalyticELBO` their estimator B (equation 7), whose
KL is integrated by hand and only the reconstruction sampled.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from pyro.distributions.util import is_identically_zero, scale_and_mask
from pyro.infer import TraceMeanField_ELBO
from pyro.infer.trace_elbo import _compute_log_r
from pyro.infer.util import is_validation_enabled
from pyro.poutine.trace_struct import Trace
from torch import Tensor

from pyrovae.autoencoder import Site, Traces, latent_sites, observed_sites
from pyrovae.compatibility import CLOSED_FORM_KL, REPARAMETERISED, Need
from pyrovae.errors import SpecError
from pyrovae.kl import exact_kl
from pyrovae.objectives.abstract import Objective


class ELBO(Objective):
    """A mean over particles, each with a loss of its own."""

    def _loss(self, traces: Sequence[Traces]) -> Tensor:
        losses = [self._particle_loss(trace.model, trace.guide) for trace in traces]
        return torch.stack(losses).sum() / self.num_particles

    @abstractmethod
    def _particle_loss(self, model: Trace, guide: Trace) -> Tensor:
        """Negative bound of one trace, summed over its particles and data."""


class SampledELBO(ELBO):
    r"""``Trace_ELBO``: the KL sampled like the reconstruction; right for any pair of programs.

    .. math::
        \frac1L \sum_l \log p(x \mid z^l) + \beta \log p(z^l) - \beta \log q(z^l \mid x),
        \qquad z^l \sim q(z \mid x)
    """

    title = "ELBO (Trace_ELBO: KL sampled)"

    def _particle_loss(self, model: Trace, guide: Trace) -> Tensor:
        sites = _sample_sites(guide)
        log_p: Any = model.log_prob_sum()
        entropies = [site["score_parts"].entropy_term for site in sites]
        loss: Any = sum((e.sum() for e in entropies if not is_identically_zero(e)), -log_p)
        scored = [s for s in sites if not is_identically_zero(s["score_parts"].score_function)]
        if not scored:
            return loss
        # Sites that cannot be reparameterised: Pyro's score-function estimator, but for its
        # value, which Pyro takes out of its tensor.
        log_r: Any = _compute_log_r(model, guide)
        for site in scored:
            reward = log_r.sum_to(site["cond_indep_stack"])
            loss = loss - (reward * site["score_parts"].score_function).sum()
        value = torch.stack([site["log_prob_sum"] for site in sites]).sum() - log_p
        return loss + (value - loss).detach()


class AnalyticELBO(ELBO, TraceMeanField_ELBO):
    r"""``TraceMeanField_ELBO``: the KL in closed form, which has less variance.

    .. math::
        \frac1L \sum_l \log p(x \mid z^l) - \beta \operatorname{KL}(q(z \mid x), p(z)),
        \qquad z^l \sim q(z \mid x)

    Pyro's falls back to a sampled KL without a word; this one raises SpecError.
    """

    needs: tuple[Need, ...] = (CLOSED_FORM_KL, REPARAMETERISED)
    title = "ELBO (TraceMeanField_ELBO: KL exact)"

    def _get_trace(self, model: Any, guide: Any, args: Any, kwargs: Any) -> tuple[Trace, Trace]:
        if is_validation_enabled():
            return super()._get_trace(model, guide, args, kwargs)
        # Densities of the codes are in the closed form: to compute them too would take longer.
        traces = Traces.run(model, guide, *args, **kwargs)
        traces.model.compute_log_prob(lambda name, site: site["is_observed"])
        return traces.model, traces.guide

    def _particle_loss(self, model: Trace, guide: Trace) -> Tensor:
        observed = [model.nodes[name] for name in observed_sites(model)]
        loss = -torch.stack([site["log_prob_sum"] for site in observed]).sum()
        for name in latent_sites(model):
            q: Site = guide.nodes[name]
            p: Site = model.nodes[name]
            kl = exact_kl(q["fn"], p["fn"])
            if kl is None:
                raise SpecError(f"the KL at site '{name}' has no closed form: use SampledELBO")
            loss = loss + scale_and_mask(kl, scale=q["scale"], mask=q["mask"]).sum()
        return loss


def _sample_sites(trace: Trace) -> list[Site]:
    return [site for site in trace.nodes.values() if site["type"] == "sample"]
