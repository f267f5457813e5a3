"""Whether a likelihood can explain the data at all, asked before training."""

from __future__ import annotations

import torch
from pyro import poutine
from torch.distributions import constraints

from pyrovae.autoencoder import Autoencoder, Site, observed_sites
from pyrovae.data import Dataset
from pyrovae.errors import DataError
from pyrovae.evaluation import batches, evaluating


def check_support(autoencoder: Autoencoder, data: Dataset) -> None:
    """Refuse data that have density zero under p(x | z), whatever z.

    Args:
        autoencoder: Its model has one observed site, the data.
        data: As the model sees them.

    Raises:
        DataError: Names a value outside the support, and what to choose.
    """
    device = next(autoencoder.parameters()).device
    with evaluating(autoencoder, device):
        one = data.batch(torch.zeros(1, dtype=torch.long)).to(device)
        trace = poutine.trace(autoencoder.model).get_trace(one)
        site: Site = trace.nodes[observed_sites(trace)[0]]
        support = site["fn"].support
        # Value by value, so that the first wrong one can be shown.
        while isinstance(support, constraints.independent):
            support = support.base_constraint
        for x in batches(data, device):
            outside = ~support.check(x)
            if outside.any():
                value = x[outside].flatten()[0].item()
                raise DataError(
                    f"{autoencoder.source}{data.name} has the value {value:g}, and p(x | z) = "
                    f"{autoencoder.formulas().likelihood} takes {autoencoder.advice}"
                )
