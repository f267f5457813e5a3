"""Marginals q(z_d | x) of the latent dimensions."""

from __future__ import annotations

from typing import Any

import torch
from pyro import poutine

from pyrovae.evaluation.local import LocalPosterior
from pyrovae.parts.distributions.kl import marginals


def guide_marginals(local: LocalPosterior) -> dict[str, Any]:
    """Marginals of each latent site given x, ``(data, dims)``; None where unknown.

    None as well for a site that the guide draws given another one, since its distribution in a
    trace is a conditional. Two runs of the guide are compared to find such sites.
    """
    guide, variables = poutine.trace(local.autoencoder.guide), local.batch.variables
    first, second = (guide.get_trace(**variables) for _ in range(2))
    found: dict[str, Any] = {}
    for name in local.shapes:
        nodes: Any = (first.nodes[name], second.nodes[name])
        one, other = (marginals(node["fn"]) for node in nodes)
        value = nodes[0]["value"]
        if one is not None and other is not None and one.batch_shape == value.shape:
            same = torch.equal(one.log_prob(value), other.log_prob(value))
            found[name] = one if same else None
        else:
            found[name] = None
    return found
