r"""Discrete latents summed exactly, all their values in parallel.

Pyro's ``EnumMessenger`` gives each discrete latent a dimension of its own, left of all plates, so
that log-densities hold every combination of values. Two sums follow. A latent of the guide is
averaged under the guide,

.. math::
    \mathbb{E}_{q(k \mid x)} f(k) = \sum_k q(k \mid x) f(k),

and a latent of the model alone is summed out of the joint density, so that a site that depends on
it has the density

.. math::
    \log p(x \mid z) = \log \sum_k p(k, z, x) - \log \sum_k p(k, z).

Both sums are taken inside the plates of the latent: the values of two elements of a plate are
independent.

References:
    Obermeyer et al. (2019), *Tensor Variable Elimination for Plated Factor Graphs*,
    arXiv:1902.03210.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, cast

import torch
from pyro.poutine.enum_messenger import EnumMessenger
from pyro.poutine.trace_struct import Trace
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from pyrovae.errors import SpecError

Site = Any
PLATES = 5  # enumerated dimensions begin left of as many plates, those of particles included
MOST_STATES = 10**6


class Enumerated(NamedTuple):
    """A latent that the guide enumerates.

    Attributes:
        dim: Its dimension, from the right.
        log_prob: Log-probability of its values under the guide, with the batch shape of its site.
        plates: Dimensions of its plates.
    """

    dim: int
    log_prob: Tensor
    plates: frozenset[int]


class Factor(NamedTuple):
    """A log-density with the batch shape of its site, and the dimensions of its plates."""

    value: Tensor
    plates: frozenset[int]


def is_summed(site: Site) -> bool:
    """Return True if all values of a latent are enumerated."""
    return site["type"] == "sample" and "_enumerate_dim" in site["infer"]


def enumerated_dim(site: Site) -> int:
    """The dimension of the values of an enumerated latent, from the right."""
    return int(site["infer"]["_enumerate_dim"])


class Enumeration(EnumMessenger):
    """Handler that enumerates the discrete latents of a program.

    Sites that cannot be enumerated are drawn as before, as are the missing values of an
    ``obs_mask``. Pyro's own handler would do its accounts at every site of every program.

    Args:
        guide: The guide's trace that a model is replayed against, whose latents it takes.

    Raises:
        SpecError: When run, if there are more than 10⁶ combinations of values.
    """

    def __init__(self, guide: Trace | None = None) -> None:
        self.given: Mapping[str, Site] = {} if guide is None else guide.nodes
        summed = [site for site in self.given.values() if is_summed(site)]
        self.states = math.prod(map(_states, summed))
        super().__init__(min(map(enumerated_dim, summed), default=-PLATES) - 1)

    def _pyro_sample(self, msg: Any) -> None:
        if self._is_free(msg):
            self.states *= msg["fn"].enumerate_support(expand=False).shape[0]
            if self.states > MOST_STATES:
                raise SpecError(
                    f"the discrete latents up to '{msg['name']}' have {self.states:,} "
                    f"combinations of values, more than the {MOST_STATES:,} that can be summed: "
                    "draw some of them in the guide"
                )
            msg["infer"] = {**msg["infer"], "enumerate": "parallel"}
            super()._pyro_sample(msg)
        elif "_markov_scope" in msg["infer"]:
            super()._pyro_sample(msg)

    def _pyro_post_sample(self, msg: Any) -> None:
        if "_enumerate_dim" in msg["infer"] or "_markov_scope" in msg["infer"]:
            super()._pyro_post_sample(msg)

    def _is_free(self, msg: Any) -> bool:
        """True for a discrete latent that nothing else gives a value to."""
        return not (
            msg["done"]
            or msg["is_observed"]
            or msg["name"] in self.given
            or not can_enumerate(msg["fn"])
            or msg["name"].endswith("_unobserved")
            or site_is_subsample(msg)
        )


def enumerated(program: Callable[..., Any], guide: Trace | None = None) -> Callable[..., Any]:
    """The program under :class:`Enumeration`."""

    def run(*args: Any, **kwargs: Any) -> Any:
        with Enumeration(guide):
            return program(*args, **kwargs)

    return run


def can_enumerate(fn: Any) -> bool:
    """Return True if a distribution lists its values."""
    return bool(getattr(fn, "has_enumerate_support", False))


def averaged(value: Tensor, guide: Sequence[Enumerated], event_dim: int = 0) -> Tensor:
    """Mean under the guide over its enumerated latents.

    Values of probability zero do not count, finite or not.

    Args:
        value: ``(*batch, *event)``.
        guide: Its enumerated latents, in order.
        event_dim: Number of dimensions of an event.
    """
    if not guide:
        return value
    share, dims = torch.zeros((), device=value.device), list[int]()
    batch = value.shape[: value.ndim - event_dim]
    for dim, log_q, _ in reversed(guide):
        if _size(batch, dim) > 1 or _size(share.shape, dim) > 1:
            share, dims = share + log_q, [*dims, dim]
    if not dims:
        return value
    probability = share.exp()
    probability = probability.reshape(probability.shape + (1,) * event_dim)
    value = probability * torch.where(probability > 0, value, 0.0)
    return value.sum([dim - event_dim for dim in dims], keepdim=True)


def summed_out(
    factors: Sequence[Factor], latents: Sequence[Site], guide: Sequence[Enumerated]
) -> list[Factor]:
    """Factors of the joint density without the model's own discrete latents.

    Latents in more plates are summed first. What depends on a latent is summed over the plates
    that it has beyond those of the latent.

    Args:
        factors: Log-densities of all sites, those of the latents included.
        latents: The enumerated sites of the model alone.
        guide: The latents that the guide enumerates.

    Raises:
        SpecError: The guide enumerates a latent inside a plate that a latent of the model is
            outside of: no sum of products gives the bound.
    """
    left, inside = list(factors), frozenset[int]().union(*(latent.plates for latent in guide))
    for site in sorted(latents, key=lambda site: -len(plate_dims(site))):
        dim, plates = enumerated_dim(site), plate_dims(site)
        depend = [f for f in left if _size(f.value.shape, dim) > 1]
        left = [f for f in left if _size(f.value.shape, dim) == 1]
        if inside - plates:
            raise SpecError(
                f"the model's discrete latent '{site['name']}' is outside of a plate in which the "
                "guide enumerates another: draw it in the guide as well"
            )
        joint = torch.stack(torch.broadcast_tensors(*(_within(f, plates) for f in depend))).sum(0)
        left.append(Factor(joint.logsumexp(dim, keepdim=True), plates))
    return left


def own_latents(trace: Trace, drawn: Iterable[str]) -> list[Site]:
    """The enumerated latents of a model's trace that the guide does not draw.

    Raises:
        SpecError: Two of them share a dimension, as ``pyro.markov`` has it.
    """
    names, nodes = set(drawn), cast(Mapping[str, Site], trace.nodes)
    found = [site for name, site in nodes.items() if name not in names and is_summed(site)]
    dims = [enumerated_dim(site) for site in found]
    if len(set(dims)) < len(dims):
        raise SpecError(
            f"discrete latents, {', '.join(site['name'] for site in found)}, share a dimension: "
            "write the program without pyro.markov"
        )
    return found


def depends(shape: Sequence[int], latents: Iterable[Site]) -> bool:
    """Return True if a batch shape has the dimension of an enumerated latent."""
    return any(_size(shape, enumerated_dim(site)) > 1 for site in latents)


def plate_dims(site: Site) -> frozenset[int]:
    """Dimensions of the plates around a site, from the right."""
    return frozenset(frame.dim for frame in site["cond_indep_stack"] if frame.vectorized)


def _within(factor: Factor, plates: frozenset[int]) -> Tensor:
    """A factor summed over its plates beyond these."""
    value = factor.value
    beyond = [dim for dim in factor.plates - plates if _size(value.shape, dim) > 1]
    return value.sum(beyond, keepdim=True) if beyond else value


def _states(site: Site) -> int:
    """Number of values of an enumerated latent."""
    return int(site["value"].shape[enumerated_dim(site) - site["fn"].event_dim])


def _size(shape: Sequence[int], dim: int) -> int:
    return shape[dim] if len(shape) >= -dim else 1
