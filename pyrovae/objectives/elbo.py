"""The evidence lower bound, with its KL sampled or in closed form.

Both are SGVB estimators of Kingma and Welling (2014), arXiv:1312.6114: :class:`SampledELBO`
is their estimator A (equation 6), :class:`AnalyticELBO` their estimator B (equation 7), whose
KL is integrated by hand and only the reconstruction sampled.
"""

from __future__ import annotations

from pyro.infer import TraceMeanField_ELBO
from torch import Tensor

from pyrovae.errors import SpecError
from pyrovae.objectives.bound import Bound
from pyrovae.objectives.requirements import CLOSED_FORM_KL, REPARAMETERISED, Requirement
from pyrovae.programs.densities import Densities


class SampledELBO(Bound):
    r"""``Trace_ELBO``: the KL sampled like the reconstruction; valid for any pair of programs.

    .. math::
        \frac1L \sum_l \log p(x \mid z^l) + \beta \log p(z^l) - \beta \log q(z^l \mid x),
        \qquad z^l \sim q(z \mid x)

    Latents that are not reparameterised have the score-function estimator, whose reward is the
    bound of their own observation.
    """

    title = "ELBO (Trace_ELBO: KL sampled)"
    sampled = True

    def bound(self, found: Densities, beta: float | Tensor) -> Tensor:
        """The mean over particles, ``(data,)``."""
        each = found.reconstruction + beta * (found.log_prior - found.log_guide)
        if found.score is not None:
            each = each + each.detach() * (found.score - found.score.detach())
        return each.mean(0)


class AnalyticELBO(Bound, TraceMeanField_ELBO):
    r"""``TraceMeanField_ELBO``: the KL in closed form, which has less variance.

    .. math::
        \frac1L \sum_l \log p(x \mid z^l) - \beta \operatorname{KL}(q(z \mid x), p(z)),
        \qquad z^l \sim q(z \mid x)

    Pyro's falls back to a sampled KL silently. It also takes the closed form where the guide draws
    latents in another order than the model, for which it is wrong. This one refuses both.
    """

    needs: tuple[Requirement, ...] = (CLOSED_FORM_KL, REPARAMETERISED)
    title = "ELBO (TraceMeanField_ELBO: KL exact)"

    def bound(self, found: Densities, beta: float | Tensor) -> Tensor:
        """The mean over particles, ``(data,)``.

        Raises:
            SpecError: A KL has no closed form, or none that is right; names the site.
        """
        for name, site in found.latent.items():
            if site.kl_kind == "sampled":
                raise SpecError(f"the KL at site '{name}' has no closed form: use SampledELBO")
        return (found.reconstruction - beta * found.kl).mean(0)
