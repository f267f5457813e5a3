"""The values that the sites of a model observe, and their places among a batch's variables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from pyro.distributions import MaskedDistribution
from pyro.poutine.trace_struct import Trace
from torch import Tensor
from torch.distributions import Independent

from pyrovae.data.batch import Batch
from pyrovae.errors import SpecError
from pyrovae.parts.likelihoods.multinomial import CountsGivenTotal
from pyrovae.programs.traces import Site, sites_by_role


class Place(NamedTuple):
    """The values of a variable that a site observes.

    Attributes:
        variable: Name of the variable.
        positions: Their positions in the flattened variable, with the shape of the site's value.
    """

    variable: str
    positions: Tensor


def observations(trace: Trace) -> dict[str, Site]:
    """The sites that observe data, in order; those of ``poutine.uncondition`` as well."""
    sites = sites_by_role(trace, "observed", "latent")
    return {name: site for name, site in sites.items() if site["is_observed"] or _is_redrawn(site)}


def places(sites: Mapping[str, Site], batch: Batch) -> dict[str, Place]:
    """Place of each site's values.

    A site observes part of a variable, such as ``x[:, 2]``, or a variable of its own name, or as
    many numbers as ``x`` has.

    Args:
        sites: Observed sites of a run of the model on this very batch.
        batch: The batch.

    Raises:
        SpecError: A site observes something else, or there is none.
    """
    if not sites:
        raise SpecError(
            "the model has a density of the data, a factor, and no distribution of them: means "
            "and draws of the data need a site with obs=x"
        )
    return {name: _place(name, _observed(site), batch) for name, site in sites.items()}


def filled_in(
    sites: Mapping[str, Site],
    values: Mapping[str, Tensor],
    batch: Batch,
    *,
    hidden: bool = False,
) -> dict[str, Tensor]:
    """The variables that sites observe, with other values in the place of the observed ones.

    What no site observes stays as it is in the batch.

    Args:
        sites: Observed sites of a run of the model on this very batch.
        values: The other values of each site, ``(*draws, *shape of its value)``.
        batch: The batch.
        hidden: Whether values that a mask hides are replaced as well; else they stay as they are.

    Returns:
        By variable, ``(*draws, *shape)``.
    """
    variables, found = batch.variables, dict[str, Tensor]()
    for name, (variable, positions) in places(sites, batch).items():
        value, stored = values[name], variables[variable]
        draws = value.shape[: value.ndim - positions.ndim]
        flat = found.get(variable, stored.flatten().expand(*draws, -1))
        flat = flat.to(torch.promote_types(flat.dtype, value.dtype)).clone()
        old = flat[..., positions]
        replaced = torch.tensor(True) if hidden else shown(sites[name])
        flat[..., positions] = torch.where(replaced, value.to(flat), old)
        found[variable] = flat
    return {
        name: flat.reshape(*flat.shape[:-1], *variables[name].shape)
        for name, flat in found.items()
    }


def means_of_x(trace: Trace, batch: Batch) -> Tensor:
    """Means of p(x | z) at the latents of a run of the model on a batch, in the shape of ``x``.

    Those of values that are not known are imputations.

    Raises:
        SpecError: No site observes ``x``, or one has no mean.
    """
    sites = observations(trace)
    values = {name: mean_of(name, site["fn"]) for name, site in sites.items()}
    return require_x(filled_in(sites, values, batch, hidden=True))


def require_x(found: Mapping[str, Any]) -> Any:
    """The value found for ``x``, among those of all variables.

    Raises:
        SpecError: It is not among them.
    """
    if "x" not in found:
        raise SpecError(f"the model observes {', '.join(found)} and not x, which is what is shown")
    return found["x"]


def drawn_anew(site: Site) -> Tensor:
    """A draw from the distribution at an observed site.

    Of counts given their total, with the total that was observed.
    """
    counts = innermost(site["fn"])
    if isinstance(counts, CountsGivenTotal):
        return counts.sample_given(_observed(site).sum(-1))
    drawn: Tensor = site["value"] if _is_redrawn(site) else site["fn"].sample()
    return drawn


def mean_of(name: str, fn: Any) -> Tensor:
    """Mean of the distribution at a site, or its mode where it has none, as of a class.

    Raises:
        SpecError: It has neither.
    """
    try:
        mean: Tensor = fn.mean
        return mean if mean.isfinite().all() else torch.where(mean.isfinite(), mean, _mode(fn))
    except NotImplementedError as error:
        raise SpecError(f"site '{name}': {type(fn).__name__} has no mean to show") from error


def shown(site: Site) -> Tensor:
    """True for each value of a site that no mask hides, to be broadcast to the value."""
    seen = torch.full((), True, device=site["value"].device)
    for mask, event_dim in _masks(site):
        if isinstance(mask, Tensor):
            seen = seen & mask.bool().reshape(mask.shape + (1,) * event_dim)
        elif not mask:
            seen = torch.zeros_like(seen)
    return seen.reshape((1,) * (site["fn"].event_dim - seen.ndim) + seen.shape)


def is_hidden(site: Site) -> bool:
    """True if masks hide all values of a site. Reads no tensor where the masks are none."""
    masks = [mask for mask, _ in _masks(site)]
    if any(isinstance(mask, Tensor) for mask in masks):
        return not shown(site).any()
    return not all(masks)


def _masks(site: Site) -> Iterator[tuple[bool | Tensor, int]]:
    """The masks of a site and of its distribution, each with the length of its events."""
    fn = site["fn"]
    if site["mask"] is not None:
        yield site["mask"], fn.event_dim
    while isinstance(fn, Independent | MaskedDistribution):
        if isinstance(fn, MaskedDistribution):
            yield fn._mask, fn.event_dim
        fn = fn.base_dist


def innermost(fn: Any) -> Any:
    """A distribution without its masks and independent dimensions."""
    while isinstance(fn, Independent | MaskedDistribution):
        fn = fn.base_dist
    return fn


def is_masked(site: Site) -> bool:
    """True if a mask hides values of a site, or could."""
    return shown(site).ndim > site["fn"].event_dim


def _is_redrawn(site: Site) -> bool:
    return bool(site["infer"].get("was_observed", False))


def _observed(site: Site) -> Tensor:
    """Value that a site observes, or did before it was drawn anew."""
    return site["infer"]["obs"] if _is_redrawn(site) else site["value"]


def _place(name: str, value: Tensor, batch: Batch) -> Place:
    variables = batch.variables
    for variable, tensor in variables.items():
        if (positions := _view(value, tensor)) is not None:
            return Place(variable, positions)
    for variable in (name, "x") if name in variables else ("x",):
        if variables[variable].numel() == value.numel():
            positions = torch.arange(value.numel(), device=value.device)
            return Place(variable, positions.reshape(value.shape))
    raise SpecError(
        f"site '{name}' observes neither part of x, such as x[:, :2], nor a variable of its name, "
        "as means and draws of the data need"
    )


def _view(value: Tensor, tensor: Tensor) -> Tensor | None:
    """Positions of a view in its tensor; None if the value is none."""
    base = tensor.untyped_storage().data_ptr()
    if value.untyped_storage().data_ptr() != base or not tensor.is_contiguous():
        return None
    if value.dtype != tensor.dtype or any(s == 0 for s in value.stride()):
        return None  # reinterpreted, or repeated
    numbers = torch.arange(tensor.numel(), device=tensor.device)
    start = value.storage_offset() - tensor.storage_offset()
    return numbers.as_strided(value.shape, value.stride(), start)


def _mode(fn: Any) -> Tensor:
    """Mode of a distribution, through the wrappers that do not pass it on."""
    mode: Tensor = (fn.base_dist if isinstance(fn, MaskedDistribution) else fn).mode
    return mode
