"""Check of the data against the support of the likelihood, before training."""

from __future__ import annotations

import re
from dataclasses import replace

import pyro
import torch
from pyro import poutine
from torch import Tensor
from torch.distributions import constraints

from pyrovae.compute.modes import evaluating
from pyrovae.data import Batch, Dataset
from pyrovae.data.sources import Source
from pyrovae.errors import DataError, reason
from pyrovae.evaluation.batches import batches
from pyrovae.programs.autoencoder import Autoencoder
from pyrovae.programs.observed_values import is_masked, shown
from pyrovae.programs.traces import Site, sites_by_role


def check_support(autoencoder: Autoencoder, data: Dataset) -> None:
    """Refuse data outside the support of p(x | z).

    Checked are the values at the observed sites of the model, which need not be the data
    themselves; masked values are not checked.

    Args:
        autoencoder: Autoencoder whose model observes the data.
        data: The data, as the model sees them.

    Raises:
        DataError: Names a value outside the support, and what to choose.
    """
    device = autoencoder.device
    with evaluating(autoencoder, device):
        first = data.batch(torch.zeros(1, dtype=torch.long)).to(device)
        sites = list(_observed(autoencoder, first).values())
        if isinstance(data.x, Source) and all(map(_is_real, sites)):
            return  # numbers, as they were found when they were loaded
        if len(sites) == 1 and sites[0]["value"] is first.x and not is_masked(sites[0]):
            # The data themselves: one run gives the support of all of them.
            if _takes_all_bytes(sites[0], data, device):
                return
            observed = ({"": {**sites[0], "value": batch.x}} for batch in batches(data, device))
        else:
            observed = (_observed(autoencoder, batch) for batch in batches(data, device))
        for found in observed:
            for name, site in found.items():
                if (value := _outside(site)) is not None:
                    where = f" at site '{name}'" if name else ""
                    raise DataError(
                        f"{autoencoder.source}{data.name} has the value {value:g}{where}, and "
                        f"p(x | z) = {autoencoder.formulas().likelihood} takes "
                        f"{autoencoder.advice}{data.counts}"
                    )


def invalid_parameter(autoencoder: Autoencoder, data: Dataset) -> str:
    """The parameter that a distribution of the programs cannot have, such as a negative scale.

    Training does not look at them. One batch is looked at.

    Returns:
        Its name and that of the distribution; empty if there is no such parameter.
    """
    batch = next(batches(data, autoencoder.device))
    with evaluating(autoencoder, autoencoder.device), pyro.validation_enabled(True):
        try:
            autoencoder.traces(batch)
        except ValueError as error:
            found = re.search(r"Expected parameter (\w+) .*of distribution (\w+)", reason(error))
            return f"{found[1]} of {found[2]}" if found else ""
    return ""


def _takes_all_bytes(site: Site, data: Dataset, device: torch.device) -> bool:
    """True for bytes that are not in memory, and none of which could be outside the support."""
    if not isinstance(data.x, Source) or data.x.dtype != torch.uint8 or data.maximum is None:
        return False
    first = torch.zeros(1, dtype=torch.long)
    for level in range(int(data.maximum) + 1):
        x = torch.full((1, *data.shape), level, dtype=torch.uint8)
        seen = replace(data, x=x, rows=first, asked=()).batch(first).x
        if _outside({**site, "value": seen.to(device)}) is not None:
            return False
    return True


def _observed(autoencoder: Autoencoder, batch: Batch) -> dict[str, Site]:
    """The sites at which the model observes data."""
    return sites_by_role(poutine.trace(autoencoder.model).get_trace(**batch.variables), "observed")


def _is_real(site: Site) -> bool:
    """True if the distribution at a site takes any number."""
    support = site["fn"].support
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    return support is constraints.real


def _outside(site: Site) -> float | None:
    """The first observed value outside the support of its distribution."""
    support, value = site["fn"].support, site["value"]
    # Value by value, so that the first wrong one can be shown.
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    seen = shown(site)
    for _ in range(support.event_dim):  # such an event is hidden as a whole
        seen = seen[..., 0]
    outside: Tensor = ~support.check(value) & seen
    return value[outside].flatten()[0].item() if outside.any() else None
