"""Whether a likelihood can explain the data at all, asked before training."""

from __future__ import annotations

from typing import Any

import torch
from pyro import poutine

from pyrovae.autoencoder import Autoencoder, observed_sites
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
        likelihood: Any = trace.nodes[observed_sites(trace)[0]]["fn"]
        # Value by value, so that the first wrong one can be shown.
        while hasattr(likelihood, "base_dist"):
            likelihood = likelihood.base_dist
        for x in batches(data, device):
            outside = ~likelihood.support.check(x)
            if outside.any():
                value = x[outside][0].item()
                raise DataError(
                    f"{autoencoder.source}{data.name} has the value {value:g}, and p(x | z) = "
                    f"{autoencoder.formulas().likelihood} takes {autoencoder.advice}"
                )
