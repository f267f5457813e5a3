"""Compatibility of prior, guide and objective, derived from their distributions.

A part declares what it is by the distribution that it returns: its support, whether draws can be
reparameterised, whether it factorises over the dimensions, and through ``register_kl`` which KL
has a closed form. An objective declares its requirements. So the same tests apply to handwritten
programs, and no part can misdeclare itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from pyro.distributions import constraints
from torch import Tensor
from torch.distributions import Distribution

from pyrovae.compute.modes import evaluating
from pyrovae.data import Batch
from pyrovae.errors import SpecError
from pyrovae.parts.distributions.kl import Kind, exact_kl, is_point, marginals, sums_over_dims
from pyrovae.programs.autoencoder import Autoencoder
from pyrovae.programs.densities import closes
from pyrovae.programs.enumeration import can_enumerate
from pyrovae.programs.traces import Site, Traces


class Pair(NamedTuple):
    """Both programs at a latent site.

    Attributes:
        q: The guide's distribution.
        p: The model's distribution.
        z: A draw of the guide's.
        closes: True if a closed form of the KL, where there is one, is a term of the bound.
        point: True if the guide has no density there.
    """

    q: Any
    p: Any
    z: Any
    closes: bool
    point: bool

    @property
    def exact_kl(self) -> Tensor | None:
        """The KL in closed form, where there is one and it is a term of the bound."""
        return exact_kl(self.q, self.p) if self.closes else None

    @property
    def kl_kind(self) -> Kind:
        """Kind of the reported KL; for a point it is -log p(z), which is not a KL."""
        return "point" if self.point else "sampled" if self.exact_kl is None else "exact"


Pairs = Mapping[str, Pair]


class Requirement(NamedTuple):
    """Requirement of an objective on the latent sites.

    Attributes:
        obstacle: Function of both distributions at each site that returns why it fails, or None.
        advice: Alternative to choose; the end of a sentence.
    """

    obstacle: Callable[[Pairs], str | None]
    advice: str


def pairs(autoencoder: Autoencoder, batch: Batch) -> Pairs:
    """Both distributions at each latent site, from one run of the programs on ``x``."""
    with evaluating(autoencoder, batch.device):
        return pairs_of(autoencoder.traces(batch))


def pairs_of(traces: Traces) -> Pairs:
    """Both distributions at each latent site of a run."""
    q: Mapping[str, Site] = traces.guide.nodes
    p: Mapping[str, Site] = traces.model.nodes
    return {
        site: Pair(
            q[site]["fn"],
            p[site]["fn"],
            q[site]["value"],
            closes(traces, site),
            traces.is_point(site),
        )
        for site in traces.latent
    }


def find_obstacle(needs: Iterable[Requirement], found: Pairs) -> str | None:
    """Find the first requirement that fails; return the reason and an alternative."""
    for need in needs:
        if reason := need.obstacle(found):
            return f"{reason}; choose {need.advice}"
    return None


def check(
    asked: str, needs: Iterable[Requirement], autoencoder: Autoencoder, batch: Batch
) -> None:
    """Refuse an objective that cannot work for these programs.

    Args:
        asked: The objective, as written in the specification.
        needs: Its requirements, beyond :data:`EVERY_OBJECTIVE`.
        autoencoder: Model and guide; both run once.
        batch: A few observations, on the programs' device.

    Raises:
        SpecError: Names guide, prior, reason, and the nearest choice that works.
    """
    found, formulas = pairs(autoencoder, batch), autoencoder.formulas()
    sides = f"the guide, {formulas.guide}, and the prior, {formulas.prior}"
    if obstacle := find_obstacle(EVERY_OBJECTIVE, found):
        raise SpecError(f"{sides}, do not go together: {autoencoder.reworded(obstacle)}")
    if obstacle := find_obstacle(needs, found):
        raise SpecError(f"{asked} cannot work for {sides}: {autoencoder.reworded(obstacle)}")


def _at_any_site(obstacle: Callable[[Pair], str | None]) -> Callable[[Pairs], str | None]:
    """Return the obstacle at the first site that has one."""

    def find(found: Pairs) -> str | None:
        reasons = ((site, obstacle(pair)) for site, pair in found.items())
        return next((f"{reason} at site '{site}'" for site, reason in reasons if reason), None)

    return find


def _is_spherical(distribution: Distribution) -> bool:
    support: Any = distribution.support
    while hasattr(support, "base_constraint"):
        support = support.base_constraint
    return support is constraints.sphere


def _no_prior_density(pair: Pair) -> str | None:
    return "p(z) is made of points and has no density" if is_point(pair.p) else None


def _off_the_sphere(pair: Pair) -> str | None:
    # Densities on the sphere are per area, others per volume: their ratio means nothing.
    if _is_spherical(pair.p) and not _is_spherical(pair.q):
        return "codes of p(z) lie on a sphere and those of q(z | x) do not"
    return None


def _on_the_sphere(pair: Pair) -> str | None:
    if _is_spherical(pair.q) and not _is_spherical(pair.p):
        return "codes of q(z | x) lie on a sphere and those of p(z) do not"
    return None


def _discrete_and_not(pair: Pair) -> str | None:
    discrete = [
        distribution.support.is_discrete and not is_point(distribution)
        for distribution in (pair.q, pair.p)
    ]
    return None if len(set(discrete)) == 1 else "of q(z | x) and p(z) one is discrete"


def _outside_support(pair: Pair) -> str | None:
    support: Any = pair.p.support
    inside = support.check(pair.z).all()
    return None if inside else "q(z | x) has codes at which p(z) is zero"


def _no_density(pair: Pair) -> str | None:
    return "q(z | x) is a point and has no density" if pair.point else None


def _not_reparameterised(pair: Pair) -> str | None:
    return None if pair.q.has_rsample else "draws of q(z | x) cannot be reparameterised"


def _neither_drawn_nor_listed(pair: Pair) -> str | None:
    if pair.q.has_rsample or can_enumerate(pair.q):
        return None
    return "draws of q(z | x) cannot be reparameterised, nor can its values be enumerated"


def _no_closed_form(pair: Pair) -> str | None:
    if not pair.closes:
        return (
            "no closed form of the KL is right where the guide draws in another order than the "
            "model, or where p(z) depends on a discrete latent of the model alone,"
        )
    return "the KL has no closed form" if pair.exact_kl is None else None


def _not_a_sum_over_dimensions(pair: Pair) -> str | None:
    return None if sums_over_dims(pair.q, pair.p) else "the KL is not a sum over the dimensions"


def _no_marginals(pair: Pair) -> str | None:
    return "the marginals of q(z | x) are not known" if marginals(pair.q) is None else None


def _not_one_site(found: Pairs) -> str | None:
    if not found:
        return "there is no latent site"
    return f"there are several latent sites, {', '.join(found)}" if len(found) > 1 else None


EVERY_OBJECTIVE = (
    Requirement(_at_any_site(_no_prior_density), "model.prior.kind 'normal' or another guide"),
    Requirement(_at_any_site(_on_the_sphere), "model.prior.kind 'hyperspherical' or 'vamp'"),
    Requirement(
        _at_any_site(_off_the_sphere),
        "inference.guide.kind 'von_mises_fisher' or model.prior.kind 'normal'",
    ),
    Requirement(_at_any_site(_discrete_and_not), "both discrete or both continuous"),
    Requirement(_at_any_site(_outside_support), "a prior that has density wherever the guide has"),
)
DENSITY = Requirement(
    _at_any_site(_no_density), "inference.guide.kind 'diagonal' or inference.objective.kind 'elbo'"
)
REPARAMETERISED = Requirement(
    _at_any_site(_not_reparameterised),
    "inference.objective.kind 'elbo' with kl 'auto' or 'sampled', or 'enumerated', which sums "
    "discrete latents",
)
ENUMERABLE = Requirement(
    _at_any_site(_neither_drawn_nor_listed),
    "inference.objective.kind 'elbo' with kl 'auto' or 'sampled'",
)
CLOSED_FORM_KL = Requirement(
    _at_any_site(_no_closed_form), "inference.objective.kl 'auto' or 'sampled'"
)
FACTORISED = Requirement(
    _at_any_site(_not_a_sum_over_dimensions), "inference.objective.groups 'site'"
)
MARGINALS = Requirement(
    _at_any_site(_no_marginals), "inference.guide.kind 'diagonal', 'laplace' or 'full_rank'"
)
ONE_SITE = Requirement(_not_one_site, "inference.objective.kind 'elbo'")
