"""Traces of Pyro programs, and the roles of their sites."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from pyro import poutine
from pyro.distributions import Unit
from pyro.poutine.trace_struct import Trace
from pyro.poutine.util import site_is_subsample

from pyrovae.parts.distributions.kl import is_point
from pyrovae.programs.enumeration import enumerated, own_latents

# A site of a trace: "fn", "value", "log_prob", ... Pyro's own type for it is too narrow.
Site = Any
Role = Literal["latent", "observed", "factor", "deterministic", "subsample", "none"]


def role(site: Site) -> Role:
    """Role of a site in its program; "none" if it is not a sample statement."""
    if site["type"] != "sample":
        return "none"
    if site_is_subsample(site):
        return "subsample"
    if site["infer"].get("_deterministic"):
        return "deterministic"
    if isinstance(site["fn"], Unit):
        return "factor"
    return "observed" if site["is_observed"] else "latent"


def sites_by_role(trace: Trace, *roles: Role) -> dict[str, Site]:
    """Sites of a trace with one of these roles, in order."""
    sites = ((name, site) for name, site in trace.nodes.items() if site["type"] == "sample")
    return {name: site for name, site in sites if role(site) in roles}


def density_sites(trace: Trace) -> dict[str, Site]:
    """The sites of a trace that have a log-density, in order."""
    return sites_by_role(trace, "latent", "observed", "factor")


def observed_sites(trace: Trace) -> list[str]:
    """Names of the sites that observe data, in order."""
    return list(sites_by_role(trace, "observed"))


def group_of(name: str) -> str:
    """Name under which a site is reported, common to ``z_1``, ``z_2``, ... of a chain."""
    return re.sub(r"_\d+$", "", name)


def missing_values(trace: Trace) -> list[str]:
    """Names of the sites that hold the missing values of an ``obs_mask``."""
    halves = {name: name.removesuffix("_unobserved") + "_observed" for name in trace.nodes}
    return [name for name, other in halves.items() if other in trace.nodes and other != name]


@dataclass(frozen=True)
class Traces:
    """A run of the guide, and of the model at the latents that the guide drew.

    Attributes:
        model: The model's trace.
        guide: The guide's trace.
        fixed: The guide once more at the same latents, as constants, where an estimator of
            gradients asks for it.
    """

    model: Trace
    guide: Trace
    fixed: Trace | None = None

    @classmethod
    def run(cls, model: Any, guide: Any, *args: Any, **kwargs: Any) -> Traces:
        """Run two programs; the model's own discrete latents are enumerated."""
        guided = poutine.trace(guide).get_trace(*args, **kwargs)
        replayed = poutine.replay(enumerated(model, guided), trace=guided)
        return cls(poutine.trace(replayed).get_trace(*args, **kwargs), guided)

    @cached_property
    def latent(self) -> list[str]:
        """Names of the latent sites, in the model's order.

        A site that the model draws and the guide does not is drawn from its prior, as are the
        missing values of a site with an ``obs_mask``: its density is the same under both programs
        and adds nothing to any bound.
        """
        drawn = sites_by_role(self.guide, "latent")
        return [name for name in sites_by_role(self.model, "latent") if name in drawn]

    @cached_property
    def own(self) -> list[Site]:
        """Enumerated latents that the model draws and the guide does not."""
        return own_latents(self.model, self.latent)

    @cached_property
    def auxiliary(self) -> list[str]:
        """Names of the guide's sites that have a density and are not latents of the model."""
        return [name for name in density_sites(self.guide) if name not in self.latent]

    def is_point(self, name: str) -> bool:
        """Return True if the guide has no density at a latent site.

        With auxiliary sites, a Delta may hold the value of a transformed draw instead.
        """
        return is_point(self.guide.nodes[name]["fn"]) and not self.auxiliary

    def in_order(self, name: str) -> bool:
        r"""Return True if the guide draws a latent after all those that precede it in the model.

        Only then is the KL at the site a term of the bound,

        .. math::
            \mathbb{E}_q \log \frac{q(z_i \mid \cdot)}{p(z_i \mid \mathrm{pa}_i)} =
            \mathbb{E}_q \operatorname{KL}(q(z_i \mid \cdot), p(z_i \mid \mathrm{pa}_i))

        since a parent in the model that is drawn after :math:`z_i` depends on it. Which latents
        are parents is not known, so all that precede it in the model are taken as such.
        """
        drawn = [site for site in self.guide.nodes if site in self.latent]
        before = self.latent[: self.latent.index(name)]
        return set(before) <= set(drawn[: drawn.index(name)])
