"""Location of the first non-finite value."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from pyro.distributions.torch_distribution import TorchDistributionMixin
from pyro.poutine.trace_struct import Trace
from torch import Tensor, nn

from pyrovae.data import Batch
from pyrovae.programs.autoencoder import Autoencoder
from pyrovae.programs.log_density import log_density
from pyrovae.programs.traces import Site, density_sites


def find_divergence(autoencoder: Autoencoder, batch: Batch) -> str:
    """Name the first site and the first parameter of a batch that are not finite.

    Call it right after ``backward()``, with the random stream of the step.
    """
    traces = autoencoder.traces(batch)
    found = [*_sites("guide", traces.guide), *_sites("model", traces.model)]
    at = found[0] if found else "every site is finite, so it came up in the gradient"
    return f"{at}; {find_parameter(autoencoder)}"


def _sites(program: str, trace: Trace) -> Iterator[str]:
    """Non-finite values at the sites of a program, in the order they run."""
    for name, site in density_sites(trace).items():
        if problem := _problem(site):
            yield f"site '{name}' of the {program}: {problem}"


def _problem(site: Site) -> str | None:
    """The non-finite values of a site, from the cause (its parameters) to the effect."""
    for name, value in _parameters(site["fn"]).items():
        if not torch.isfinite(value).all():
            return f"{name} is not finite"
    for name, value in (("value", site["value"]), ("log_prob", log_density(site))):
        if not torch.isfinite(value).all():
            return f"{name} is not finite"
    return None


def _parameters(distribution: TorchDistributionMixin) -> dict[str, Tensor]:
    base: Any = getattr(distribution, "base_dist", distribution)
    names = [name for name in base.arg_constraints if name in vars(base)]
    return {name: vars(base)[name] for name in names if isinstance(vars(base)[name], Tensor)}


def find_parameter(module: nn.Module) -> str:
    """Name the first parameter that is not finite, or whose gradient is not."""
    for name, parameter in module.named_parameters():
        if not torch.isfinite(parameter).all():
            return f"parameter '{name}' is not finite"
    for name, parameter in module.named_parameters():
        if parameter.grad is not None and not torch.isfinite(parameter.grad).all():
            return f"parameter '{name}' has a gradient that is not finite"
    return "every parameter and gradient is finite"
