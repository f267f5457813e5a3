"""Values and log-densities of a Pyro model at draws of its latent sites, collected run by run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from pyro.poutine.trace_struct import Trace
from torch import Tensor

from pyrovae.diagnosis.arviz_tree import CONDITIONAL_NOTE, compact, dataset, label
from pyrovae.diagnosis.programs import Layout, Program, Sites, site_of
from pyrovae.errors import SpecError
from pyrovae.evaluation.results import Variable
from pyrovae.programs.log_density import log_density

# Numbers of predictive draws to keep: a hundred draws of 256 images of 784 pixels.
PREDICTIVE_VALUES = 100 * 256 * 784


class Columns:
    """Values of sites, collected draw by draw.

    Args:
        layouts: Layouts of the sites to collect, by name.
        small: Whether to keep integers from 0 to 255 as uint8.
    """

    def __init__(self, layouts: Mapping[str, Layout], *, small: bool = False) -> None:
        self.layouts = layouts
        self.small = small
        self._parts: dict[str, list[NDArray[Any]]] = {name: [] for name in layouts}

    def add(self, draws: int, values: Mapping[str, Tensor]) -> None:
        """Add draws: the values of the sites by name.

        Raises:
            SpecError: A site's shape is not always the same.
        """
        for name, (_, sizes, _, _) in self.layouts.items():
            found = values[name].detach().cpu()
            if found.shape == sizes:  # computed from no draw
                found = found.expand(draws, *sizes)
            if found.numel() != draws * int(np.prod(sizes)):
                raise SpecError(
                    f"site '{name}' has shape {tuple(found.shape)} where {draws} draws of "
                    f"{sizes} were to come: every draw has to have the same shape, and with "
                    "vectorize=True a pyro.deterministic needs its event_dim"
                )
            part = found.reshape(draws, *sizes).numpy().copy()
            self._parts[name].append(compact(part) if self.small else part)

    def variables(
        self, sample: tuple[int, ...], description: str, *, names: Mapping[str, str] | None = None
    ) -> dict[str, Variable]:
        """Collected values, under the sites' names or those given instead."""
        names = names or {}
        return {
            names.get(name, label(name)): self.layouts[name].variable(
                np.concatenate(parts), sample, description
            )
            for name, parts in self._parts.items()
        }

    def constant(self, name: str) -> bool:
        """True if all draws of a site are the same."""
        values = np.concatenate(self._parts[name])
        return bool((values == values[0]).all())


class Record:
    """Values, log-densities and predictive draws of a model, collected.

    Args:
        model: Program that is run at each draw.
        sites: Sites of the model.
        sample: Numbers of chains and draws.
    """

    def __init__(self, model: Program, sites: Sites, sample: tuple[int, int]) -> None:
        self.model = model
        self.sample = sample
        self.latent = Columns(sites.latent)
        self.deterministic = Columns(sites.deterministic)
        self.likelihood = Columns({name: v.per_event for name, v in sites.observed.items()})
        self.predictive = Columns(sites.observed, small=True)
        self.kept = (sample[0], _affordable(sites, *sample))
        self._drawn = 0

    def add(self, draws: int, values: Mapping[str, Tensor]) -> Trace:
        """Run the model at more draws, and return the trace."""
        trace = self.model.trace(draws, values)
        for columns in (self.latent, self.deterministic):
            columns.add(draws, values_at(trace, columns.layouts))
        likelihoods = self.likelihood.layouts
        self.likelihood.add(draws, {n: log_density(site_of(trace, n)) for n in likelihoods})
        numbers = torch.arange(self._drawn, self._drawn + draws) % self.sample[1]
        keep = (numbers < self.kept[1]).nonzero().flatten()
        if len(keep):
            few = values if draws == 1 else {name: v[keep] for name, v in values.items()}
            drawn = self.model.predictive(len(keep), few)
            self.predictive.add(len(keep), values_at(drawn, self.predictive.layouts))
        self._drawn += draws
        return trace

    def groups(self, conditional: Mapping[str, str]) -> dict[str, xr.Dataset]:
        """Groups posterior, log_likelihood and posterior_predictive.

        Args:
            conditional: Names of log-likelihoods that differ from those of their sites.
        """
        posterior = self.latent.variables(self.sample, "a latent site")
        posterior |= self.deterministic.variables(self.sample, "a deterministic site")
        groups = {"posterior": dataset(posterior)}
        if self.likelihood.layouts:
            likelihood = self.likelihood.variables(self.sample, "nats", names=conditional)
            warning = {"warning": CONDITIONAL_NOTE} if conditional else {}
            groups["log_likelihood"] = dataset(likelihood, attrs=warning)
            predictive = self.predictive.variables(self.kept, "drawn given the posterior's draws")
            groups["posterior_predictive"] = dataset(predictive)
        return groups


def prior_groups(model: Program, sites: Sites, draws: int) -> dict[str, xr.Dataset]:
    """Groups prior and prior_predictive; empty for a model that cannot be drawn from."""
    latent = Columns({**sites.latent, **sites.deterministic})
    observed = Columns(sites.observed, small=True)
    kept, done = _affordable(sites, 1, draws), 0
    try:
        for size in model.sizes(draws):
            trace = model.predictive(size)
            latent.add(size, values_at(trace, latent.layouts))
            keep = min(size, kept - done)
            if keep > 0:
                observed.add(size, values_at(trace, observed.layouts))
            done += size
    except NotImplementedError:  # an improper prior, which has no draws
        return {}
    groups = {"prior": dataset(latent.variables((1, draws), "drawn from the prior"))}
    if sites.observed:
        drawn = observed.variables((1, -1), "drawn from the model")
        few = {name: v._replace(values=v.values[:, :kept]) for name, v in drawn.items()}
        groups["prior_predictive"] = dataset(few)
    return groups


def observed_group(trace: Trace, sites: Sites) -> dict[str, xr.Dataset]:
    """Group observed_data; empty for a model that observes nothing."""
    if not sites.observed:
        return {}
    columns = Columns(sites.observed, small=True)
    columns.add(1, values_at(trace, columns.layouts))
    return {"observed_data": dataset(columns.variables((), "what was observed"))}


def values_at(trace: Trace, names: Iterable[str]) -> dict[str, Tensor]:
    """Values of sites.

    Raises:
        SpecError: A site is missing from the trace.
    """
    return {name: site_of(trace, name)["value"] for name in names}


def _affordable(sites: Sites, chains: int, draws: int) -> int:
    """Number of predictive draws to keep of each chain."""
    return min(draws, max(1, PREDICTIVE_VALUES // (sites.observed_numbers * chains)))
