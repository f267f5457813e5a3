"""From the sites of model and guide to log-densities and KLs per observation.

Objectives, reports, importance weights, annealing, chains, diagnosis and the converters to ArviZ
all use this module.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from typing import Any, Literal, NamedTuple, cast

import torch
from pyro.poutine.trace_struct import Trace
from torch import Tensor

from pyrovae.errors import SpecError
from pyrovae.parts.distributions.kl import (
    Kind,
    exact_kl,
    exact_kl_per_dim,
    log_prob_per_dim,
    sums_over_dims,
)
from pyrovae.programs.enumeration import (
    Enumerated,
    Factor,
    averaged,
    depends,
    enumerated_dim,
    is_summed,
    own_latents,
    plate_dims,
    summed_out,
)
from pyrovae.programs.log_density import log_density, log_prob_of, masked, present
from pyrovae.programs.plates import Plates, subsampling
from pyrovae.programs.traces import Site, Traces, density_sites, group_of, sites_by_role


class Reduced(NamedTuple):
    """Map from values at a site of the programs to numbers per observation.

    Attributes:
        plates: Place of particles and observations among the dimensions.
        scaled: Whether a program's own ``poutine.scale`` counts.
        guide: Latents that the guide enumerates.
    """

    plates: Plates
    scaled: bool = False
    guide: tuple[Enumerated, ...] = ()

    @classmethod
    def of(cls, plates: Plates, guide: Trace, *, scaled: bool = False) -> Reduced:
        """The map that also averages over the latents that a guide enumerates."""
        sites = cast(Iterable[Site], guide.nodes.values())
        summed = (
            Enumerated(
                enumerated_dim(site),
                log_prob_of(site["fn"], site["value"]).double(),
                plate_dims(site),
            )
            for site in sites
            if is_summed(site)
        )
        return cls(plates, scaled, tuple(summed))

    def __call__(self, value: Tensor, site: Site, event_dim: int = 0) -> Tensor:
        """``(*batch, *event)`` as ``(particles, data, *event)``."""
        scale = self.scale(site)
        if isinstance(scale, Tensor):
            value = value * scale.reshape(scale.shape + (1,) * event_dim)
        elif scale != 1:
            value = value * scale
        return self.average(value, event_dim)

    def average(self, value: Tensor, event_dim: int = 0) -> Tensor:
        """The same without a scale."""
        return self.plates.per_observation(averaged(value, self.guide, event_dim), event_dim)

    def scale(self, site: Site) -> Any:
        """Scale of a site: that of its subsampled plates inside the data's, and its own."""
        return self.plates.inner_scale(site) * (_own_scale(site) if self.scaled else 1.0)


class SiteDensity(NamedTuple):
    """Contribution of one site to the bound: float64 ``(particles, data)``, in nats.

    Masks are applied; β and the subsampling of the data are not. Plates inside that of the data
    are summed, and enumerated latents averaged under the guide.

    Attributes:
        role: "latent"; "auxiliary" for a site of the guide alone; or "observed".
        group: Name under which it is reported, common to the sites ``z_1``, ``z_2``, ... of a
            chain.
        log_p: Log-density under the model; None for an auxiliary site, or if not requested.
        log_q: Log-density under the guide; None for an observed site, or if not requested.
        kl: KL in closed form, or ``log_q - log_p``; None for an observed site.
        kl_per_dim: ``(particles, data, dims)``, where the KL is a sum over dimensions.
        kl_kind: Kind of ``kl``: "exact", "sampled", or "point" (-log p at a point).
        score: ``log_q`` for the score-function estimator, where draws are not reparameterised;
            ``log_q`` itself has no gradient there, whose mean would be zero.
        present: False for masked observations, ``(particles, data)``; None without a mask.
    """

    role: Literal["latent", "auxiliary", "observed"]
    group: str
    log_p: Tensor | None = None
    log_q: Tensor | None = None
    kl: Tensor | None = None
    kl_per_dim: Tensor | None = None
    kl_kind: Kind | None = None
    score: Tensor | None = None
    present: Tensor | None = None


class Densities(NamedTuple):
    """Contributions of all sites to the bound.

    Attributes:
        sites: Contributions by name: latent, then auxiliary, then observed sites.
        traces: Runs of the programs, one for each particle or one for all.
        reduced: The same map from values at a site to numbers per observation.
    """

    sites: dict[str, SiteDensity]
    traces: tuple[Traces, ...]
    reduced: Reduced

    @property
    def latent(self) -> dict[str, SiteDensity]:
        """The sites that the guide draws."""
        return {name: site for name, site in self.sites.items() if site.role != "observed"}

    @property
    def reconstruction(self) -> Tensor:
        """Log p(x | z), ``(particles, data)``."""
        return total(site.log_p for site in self.sites.values() if site.role == "observed")

    @property
    def log_prior(self) -> Tensor:
        """Log p(z), ``(particles, data)``; zero without latents."""
        return self._over_latents(lambda site: site.log_p)

    @property
    def log_guide(self) -> Tensor:
        """Log q(z | x), ``(particles, data)``; zero without latents."""
        return self._over_latents(lambda site: site.log_q)

    @property
    def kl(self) -> Tensor:
        """KL of the guide from the prior, ``(particles, data)``; zero without latents."""
        return self._over_latents(lambda site: site.kl)

    @property
    def score(self) -> Tensor | None:
        """Log q of sites that are not reparameterised, ``(particles, data)``; None if all are."""
        found = [site.score for site in self.latent.values() if site.score is not None]
        return total(found) if found else None

    @property
    def present(self) -> Tensor | None:
        """True where some latent of an observation is not masked; None without masks."""
        found = [site.present for site in self.latent.values()]
        masks = [mask for mask in found if mask is not None]
        return torch.stack(masks).any(0) if masks and len(masks) == len(found) else None

    def _over_latents(self, part: Callable[[SiteDensity], Tensor | None]) -> Tensor:
        latent = self.latent.values()
        return total(map(part, latent)) if latent else torch.zeros_like(self.reconstruction)


def densities(
    traces: Sequence[Traces],
    count: int | None = None,
    *,
    sampled: bool = True,
    scaled: bool = False,
) -> Densities:
    """Compute log-densities and KLs of all sites, from runs of guide and model.

    Args:
        traces: One for each particle, or one for all where they are drawn at once.
        count: Number of observations, if every site has to be in their plate; by default a whole
            draw counts as one observation where there is no such plate.
        sampled: Compute log p and log q also of latents whose KL has a closed form.
        scaled: Multiply by a program's own ``poutine.scale``, which belongs to a loss and not to a
            density. The subsampling of a plate inside the data's always counts.

    Raises:
        SpecError: Some site is in no plate of ``count`` observations; names it.
    """
    plates = Plates.of(traces[0].model, traces[0].guide, count=count)
    maps = [Reduced.of(plates, run.guide, scaled=scaled) for run in traces]
    each = [_sites(run, reduced, sampled) for run, reduced in zip(traces, maps, strict=True)]
    joined = {name: _joined([sites[name] for sites in each]) for name in each[0]}
    return Densities(joined, tuple(traces), maps[0])


def has_own_scale(traces: Traces) -> bool:
    """Return True if a program scales log-densities, apart from its subsampled plates."""
    return any(
        not (isinstance(scale, float) and math.isclose(scale, 1, rel_tol=1e-9))
        for trace in (traces.model, traces.guide)
        for scale in map(_own_scale, density_sites(trace).values())
    )


def log_densities(
    trace: Trace, names: Iterable[str], reduced: Reduced, given: Iterable[str] = ()
) -> Tensor:
    """The sum of the log-densities of sites of a trace, float64 ``(particles, data)``.

    Args:
        trace: A trace of one program.
        names: Names of the sites.
        reduced: The map to numbers per observation.
        given: Names of the sites that come before them. Latents that the model alone enumerates
            are summed out, and the density is that of the sites given these.

    Raises:
        SpecError: Latents of the model cannot be summed out; says why.
    """
    names, given = list(names), list(given)
    own = own_latents(trace, [*given, *names])
    if not own:
        return total(reduced(log_density(trace.nodes[name]), trace.nodes[name]) for name in names)
    joint = _joint(trace, [*given, *names], own, reduced)
    return joint - _joint(trace, given, own, reduced)


def _joint(trace: Trace, names: Iterable[str], own: Sequence[Site], reduced: Reduced) -> Tensor:
    """Log-density of sites, the model's own discrete latents summed out."""
    sites: list[Site] = [*own, *(trace.nodes[name] for name in names)]
    for site in sites:
        scale = reduced.scale(site)
        if isinstance(scale, Tensor) or not math.isclose(scale, 1, rel_tol=1e-9):
            raise SpecError(
                f"site '{site['name']}' is scaled, and the model's discrete latent "
                f"'{own[0]['name']}' can be summed out of densities only: draw it in the guide too"
            )
    factors = [Factor(log_density(site), plate_dims(site)) for site in sites]
    left = summed_out(factors, own, reduced.guide)
    return total(reduced.average(factor.value) for factor in left)


def _marginal(traces: Traces, names: Iterable[str], reduced: Reduced) -> dict[str, Tensor]:
    """Log-densities of the sites that depend on a latent of the model alone.

    Each is given the ones before it, so that their sum is the joint log-density.
    """
    trace, own = traces.model, traces.own
    found: dict[str, Tensor] = {}
    for name in names:
        if depends(log_density(trace.nodes[name]).shape, own):
            before = _joint(trace, found, own, reduced)
            found[name] = _joint(trace, [*found, name], own, reduced) - before
    return found


def _sites(traces: Traces, reduced: Reduced, sampled: bool) -> dict[str, SiteDensity]:
    """Contributions of all sites of one run of both programs."""
    observed = sites_by_role(traces.model, "observed", "factor")
    marginal = _marginal(traces, [*traces.latent, *observed], reduced) if traces.own else {}
    found = {
        name: _latent(traces, name, reduced, sampled, marginal.get(name)) for name in traces.latent
    }
    for name in traces.auxiliary:
        site: Site = traces.guide.nodes[name]
        log_q = reduced(log_density(site), site)
        found[name] = SiteDensity("auxiliary", name, log_q=log_q, kl=log_q, kl_kind="sampled")
    for name, site in observed.items():
        log_p = marginal.get(name)
        log_p = reduced(log_density(site), site) if log_p is None else log_p
        found[name] = SiteDensity("observed", name, log_p=log_p)
    return found


def _latent(
    traces: Traces, name: str, reduced: Reduced, sampled: bool, marginal: Tensor | None
) -> SiteDensity:
    """Contribution of a latent site of both programs.

    Args:
        traces: Runs of both programs.
        name: Name of the site.
        reduced: The map to numbers per observation.
        sampled: Compute log p and log q also where the KL has a closed form.
        marginal: Log p ``(particles, data)``, if it depends on a latent of the model alone. Then
            the KL has no closed form.
    """
    q: Site = traces.guide.nodes[name]
    p: Site = traces.model.nodes[name]
    log_p = log_q = score = None
    if marginal is None:
        kl, per_dim, exact = _kl(traces, name)
        kl = reduced(kl, q)
    else:
        kl, per_dim, exact = reduced(log_density(q), q) - marginal, None, False
    if sampled or not exact:
        log_p = reduced(log_density(p), p) if marginal is None else marginal
        log_q = log_density(q)
        if not q["fn"].has_rsample and not is_summed(q):
            score, log_q = reduced.plates.per_observation(log_q), log_q.detach()
        log_q = reduced(log_q, q)
    return SiteDensity(
        "latent",
        group_of(name),
        log_p,
        log_q,
        kl,
        None if per_dim is None else reduced(per_dim, q, 1),
        "point" if traces.is_point(name) else "exact" if exact or is_summed(q) else "sampled",
        score,
        present(q["mask"], reduced.plates),
    )


def _kl(traces: Traces, name: str) -> tuple[Tensor, Tensor | None, bool]:
    """KL at a site, its dimensions if it is a sum over them, and its kind."""
    q: Site = traces.guide.nodes[name]
    p: Site = traces.model.nodes[name]
    z, closed = q["value"], closes(traces, name)
    if sums_over_dims(q["fn"], p["fn"]) and not traces.auxiliary:
        exact = exact_kl_per_dim(q["fn"], p["fn"]) if closed else None
        per_dim = _closed_or_sampled(exact, q, p, lambda fn: log_prob_per_dim(fn, z), 1)
        return per_dim.sum(-1), per_dim, exact is not None
    exact = exact_kl(q["fn"], p["fn"]) if closed else None
    kl = _closed_or_sampled(exact, q, p, lambda fn: log_prob_of(fn, z), 0)
    return kl, None, exact is not None


def closes(traces: Traces, name: str) -> bool:
    """Return True if a closed form of the KL at a latent site is a term of the bound.

    It is not where the guide draws a parent of the latent after it
    (:meth:`~pyrovae.programs.traces.Traces.in_order`), nor where the density of the latent depends
    on auxiliary sites of the guide or on a discrete latent of the model alone.
    """
    site: Site = traces.model.nodes[name]
    if traces.auxiliary or depends(site["fn"].batch_shape, traces.own):
        return False
    return traces.in_order(name)


def _closed_or_sampled(
    exact: Tensor | None, q: Site, p: Site, log_prob: Callable[[Any], Tensor], event_dim: int
) -> Tensor:
    """KL in closed form where neither side is masked, else log q - log p at the draw."""
    if exact is not None and q["mask"] is p["mask"]:
        return masked(exact.double(), q["mask"], event_dim)
    log_q = masked(log_prob(q["fn"]).double(), q["mask"], event_dim)
    log_p = masked(log_prob(p["fn"]).double(), p["mask"], event_dim)
    if exact is None:
        return log_q - log_p
    shown = masked(torch.ones_like(log_q), q["mask"], event_dim)
    shown = masked(shown, p["mask"], event_dim)
    return torch.where(shown > 0, exact.double(), log_q - log_p)


def _own_scale(site: Site) -> Any:
    """A program's own ``poutine.scale`` at a site."""
    return site["scale"] / subsampling(site["cond_indep_stack"])


def _joined(particles: Sequence[SiteDensity]) -> SiteDensity:
    """Join the densities of a site from several runs."""
    if len(particles) == 1:
        return particles[0]

    def joined(column: Sequence[Any]) -> Any:
        return torch.cat([*column]) if isinstance(column[0], Tensor) else column[0]

    return SiteDensity(*(joined(column) for column in zip(*particles, strict=True)))


def total(values: Iterable[Tensor | None]) -> Tensor:
    """Sum of the terms that are not None."""
    return reduce(torch.add, [value for value in values if value is not None])
