"""Conversion of any Pyro posterior, of a guide or of MCMC, for ArviZ."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from pyro.infer import MCMC
from pyro.poutine.trace_struct import Trace
from torch import Tensor

from pyrovae.compute.modes import evaluation_mode
from pyrovae.diagnosis.arviz_tree import (
    GUIDE_NOTE,
    array,
    as_installed,
    as_tree,
    dataset,
    event_dims,
    label,
)
from pyrovae.diagnosis.collected_draws import (
    Columns,
    Record,
    observed_group,
    prior_groups,
)
from pyrovae.diagnosis.programs import (
    Layout,
    Program,
    Sites,
    plates,
    require_vectorisable,
    site_of,
)
from pyrovae.errors import SpecError
from pyrovae.evaluation.results import Variable
from pyrovae.parts.distributions.kl import is_point
from pyrovae.programs.densities import Reduced, log_densities
from pyrovae.programs.plates import Plates
from pyrovae.programs.traces import Traces, density_sites, missing_values, sites_by_role

WEIGHTS = {
    "log_prior": "log p(z), nats",
    "log_guide": "log q(z), nats",
    "log_weight": "log p(x, z) - log q(z), nats",
}
POINT_NOTE = "the guide is a point: it has no density, so there are no weights"


def from_pyro_svi(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    *args: Any,
    num_draws: int = 1000,
    vectorize: bool = False,
    **kwargs: Any,
) -> Any:
    r"""Convert draws from a fitted guide, of any program, and their log-densities for ArviZ.

    Groups: posterior, sample_stats, log_likelihood, posterior_predictive, prior,
    prior_predictive and observed_data. Variables have the names of sites, and dimensions those of
    plates; other dimensions are called ``<site>_dim_0`` and so on, as in ArviZ.

    Weights, in nats and double precision, without the factors of ``poutine.scale``:

    .. math::
        \log w = \log p(z) + \log p(x \mid z) - \log q(z)

    are per observation where every site of both programs is in one plate, and of the whole draw
    otherwise. Predictive draws are kept up to 20 million numbers.

    Random numbers are Pyro's: call ``pyro.set_rng_seed`` first to reproduce them. Modules run in
    evaluation mode.

    Args:
        model: The model.
        guide: The guide, which draws the model's latent sites; may be an ``AutoGuide``.
        args: Arguments of both: all the data, since plates cannot be subsampled.
        num_draws: Number of draws.
        vectorize: Whether to make many draws at once, in a plate around both programs: faster for
            small programs, but they have to broadcast.
        kwargs: Keyword arguments of both.

    Returns:
        The type that the installed ArviZ reads: see :func:`pyrovae.to_arviz`.

    Raises:
        SpecError: Model and guide draw different sites, a plate is subsampled, a run draws other
            sites than the last, or a site has a dimension that ``vectorize=True`` cannot place.

    Example:
        >>> import pyro, torch
        >>> import pyro.distributions as dist
        >>> def model(x):
        ...     with pyro.plate("data", len(x)):
        ...         z = pyro.sample("z", dist.Normal(0.0, 1.0))
        ...         pyro.sample("x", dist.Normal(z, 1.0), obs=x)
        >>> def guide(x):
        ...     with pyro.plate("data", len(x)):
        ...         pyro.sample("z", dist.Normal(x / 2, 0.5**0.5))
        >>> draws = from_pyro_svi(model, guide, torch.zeros(3), num_draws=5)
        >>> dict(draws["posterior"]["z"].sizes)
        {'chain': 1, 'draw': 5, 'data': 3}
    """
    if num_draws < 1:
        raise SpecError(f"num_draws = {num_draws}: give at least 1")
    with torch.no_grad(), evaluation_mode(model, guide):
        posterior, joint = Program(guide, args, kwargs), Program(model, args, kwargs)
        plain_guide = posterior.trace()
        plain_model = joint.trace(values=_codes(plain_guide))
        sites = Sites.of(plain_model)
        _require_same_sites(plain_model, plain_guide)
        both = [plain_model, plain_guide]
        if vectorize:
            require_vectorisable(plain_model, [*sites.latent, *sites.observed])
            require_vectorisable(plain_guide, sites_by_role(plain_guide, "latent"))
            posterior, joint = (sites.vectorized(program, both) for program in (posterior, joint))
        found = Record(joint, sites, (1, num_draws))
        of = _weight_layout(both)
        weights = Columns(dict.fromkeys(WEIGHTS, of))
        for size in posterior.sizes(num_draws):
            guide_trace = posterior.trace(size)
            model_trace = found.add(size, _codes(guide_trace))
            weights.add(size, _log_densities(model_trace, guide_trace))
        prior = prior_groups(joint, sites, num_draws)
    groups = found.groups(_conditional_names(plain_model, sites))
    groups["posterior"].attrs |= {"sampler": "guide", "note": GUIDE_NOTE}
    groups["sample_stats"] = _weight_group(weights, found.latent, plain_guide, num_draws)
    return as_installed(as_tree({**groups, **prior, **observed_group(plain_model, sites)}))


def from_pyro_mcmc(
    mcmc: MCMC,
    model: Callable[..., Any] | None = None,
    *args: Any,
    vectorize: bool = False,
    **kwargs: Any,
) -> Any:
    """Convert draws of Pyro's MCMC and their log-densities for ArviZ.

    Groups as of :func:`from_pyro_svi`; sample_stats holds diverging, the log-density lp that the
    model gives each draw (of the values as they are, not of the unconstrained ones that HMC
    moves), and the mean acceptance rate of each chain, where the kernel keeps them. Of a model
    with discrete sites, over which HMC sums, there are posterior, sample_stats and observed_data.

    Args:
        mcmc: MCMC that has run.
        model: The model; by default that of the kernel, with the arguments of the run. Without
            either there are only draws and their diagnostics, and dimensions have no names.
        args: Arguments of the model.
        vectorize: Whether to run the model once for many draws, in a plate around it.
        kwargs: Keyword arguments of the model.

    Returns:
        The type that the installed ArviZ reads: see :func:`pyrovae.to_arviz`.

    Raises:
        SpecError: ``mcmc`` has not run, the model's latent sites are not those that have draws,
            or the model cannot be converted: see :func:`from_pyro_svi`.
    """
    if getattr(mcmc, "_samples", None) is None:
        raise SpecError("mcmc has no draws: call its run(...) with the model's arguments first")
    samples = mcmc.get_samples(group_by_chain=True)
    chains, draws = next(iter(samples.values())).shape[:2]
    stats = _sampler_stats(mcmc, chains, draws)
    if model is None:
        model = getattr(mcmc.kernel, "model", None)
        args, kwargs = mcmc._args or (), mcmc._kwargs or {}
    groups = {"posterior": dataset(_unnamed(samples))}
    if model is not None:
        with torch.no_grad(), evaluation_mode(model):
            groups, lp = _of_model(Program(model, args, kwargs), samples, vectorize=vectorize)
        stats |= {} if lp is None else {"lp": Variable(("chain", "draw"), lp, "log p(x, z), nats")}
    groups["posterior"].attrs |= {"sampler": "mcmc"}
    groups["sample_stats"] = dataset(stats, attrs={"sampler": "mcmc"})
    return as_installed(as_tree(groups))


def _of_model(
    plain: Program, samples: Mapping[str, Tensor], *, vectorize: bool
) -> tuple[dict[str, xr.Dataset], NDArray[Any] | None]:
    """Groups of a model for draws ``(chain, draw, *shape)``, and log p(x, z).

    If sites were summed out, only the draws and the data.
    """
    chains, draws = next(iter(samples.values())).shape[:2]
    trace = plain.trace(values={name: values[0, 0] for name, values in samples.items()})
    sites = Sites.of(trace)
    rest = {n: site_of(trace, n)["fn"] for n in sites.latent if n not in samples}
    if set(samples) - set(sites.latent) or not all(
        fn.has_enumerate_support for fn in rest.values()
    ):
        raise SpecError(
            f"the model draws {_listed(sites.latent)} and there are draws of {_listed(samples)}: "
            "give the model that was run, or one with the same latent sites"
        )
    if rest:  # discrete: HMC has summed over all their values
        found = {
            label(name): sites.latent[name].variable(array(values), (chains, draws), "a site")
            for name, values in samples.items()
        }
        return {"posterior": dataset(found), **observed_group(trace, sites)}, None
    if vectorize:
        require_vectorisable(trace, [*sites.latent, *sites.observed])
    program = sites.vectorized(plain, [trace]) if vectorize else plain
    record = Record(program, sites, (chains, draws))
    with_density = [*sites.latent, *sites.observed, *sites.factors]
    lp, start = [], 0
    for size in program.sizes(chains * draws):
        values = {
            name: _placed(v.flatten(0, 1)[start : start + size], sites.latent[name], program)
            for name, v in samples.items()
        }
        made = record.add(size, values)
        reduced = Reduced(Plates.of(made))
        lp.append(log_densities(made, with_density, reduced).sum(-1).cpu())
        start += size
    groups = {
        **record.groups({}),
        **prior_groups(program, sites, draws),
        **observed_group(trace, sites),
    }
    return groups, torch.cat(lp).reshape(chains, draws).numpy()


def _placed(values: Tensor, of: Layout, program: Program) -> Tensor:
    """Draws of a site in the program's shape, with dimensions for plates that it is not in."""
    if not program.vectorize:
        return values[0]
    room = (1,) * (program.nesting - of.rank)
    return values.reshape(len(values), *room, *values.shape[1:])


def _sampler_stats(mcmc: MCMC, chains: int, draws: int) -> dict[str, Variable]:
    """Statistics that the kernel kept of each draw and of each chain."""
    kept = mcmc.diagnostics()
    stats = {}
    if "divergences" in kept:
        diverging = np.zeros((chains, draws), dtype=bool)
        for chain in range(chains):
            diverging[chain, kept["divergences"][f"chain {chain}"]] = True
        stats["diverging"] = Variable(("chain", "draw"), diverging, "whether it diverged")
    if "acceptance rate" in kept:
        rates = np.array([kept["acceptance rate"][f"chain {chain}"] for chain in range(chains)])
        stats["mean_acceptance_rate"] = Variable(("chain",), rates, "fraction, of the chain")
    return stats


def _unnamed(samples: Mapping[str, Tensor]) -> dict[str, Variable]:
    """Draws whose dimensions have no names, as there is no model."""
    return {
        label(name): Variable(
            ("chain", "draw", *event_dims(label(name), values.ndim - 2)), array(values), "a site"
        )
        for name, values in samples.items()
    }


def _weight_layout(traces: list[Trace]) -> Layout:
    """Layout of weights: per observation if every site of both programs is in one plate."""
    plates = Plates.of(*traces)
    if plates.data is None:
        return Layout((), (), 0, 0)
    return Layout((label(plates.name),), (plates.size,), 1, 1)


def _log_densities(model: Trace, guide: Trace) -> dict[str, Tensor]:
    """Log-densities of the draws in a pair of traces, by name, ``(draws, data)``."""
    reduced, latent = Reduced(Plates.of(model, guide)), Traces(model, guide).latent
    log_prior = log_densities(model, latent, reduced).cpu()
    log_guide = log_densities(guide, density_sites(guide), reduced).cpu()
    seen = sites_by_role(model, "observed", "factor")
    log_weight = log_prior - log_guide
    if seen:
        log_weight = log_weight + log_densities(model, seen, reduced).cpu()
    return {"log_prior": log_prior, "log_guide": log_guide, "log_weight": log_weight}


def _weight_group(weights: Columns, latent: Columns, guide: Trace, draws: int) -> xr.Dataset:
    """Log-densities of all draws; for a point, log p(z) alone."""
    variables = weights.variables((1, draws), "")
    variables = {n: v._replace(description=WEIGHTS[n]) for n, v in variables.items()}
    # An automatic guide also has a Delta for a transformed draw, which is not constant.
    point = any(is_point(guide.nodes[n]["fn"]) and latent.constant(n) for n in latent.layouts)
    if point:
        log_prior = {"log_prior": variables["log_prior"]}
        return dataset(log_prior, attrs={"sampler": "guide", "note": POINT_NOTE})
    return dataset(variables, attrs={"sampler": "guide"})


def _conditional_names(trace: Trace, sites: Sites) -> dict[str, str]:
    """``x_given_z`` for observed sites that share a plate with latent ones."""
    names = {}
    for name in sites.observed:
        around = set(plates(trace.nodes[name]))
        local = [label(z) for z in sites.latent if around.intersection(plates(trace.nodes[z]))]
        if local:
            names[name] = f"{label(name)}_given_{'_'.join(local)}"
    return names


def _require_same_sites(model: Trace, guide: Trace) -> None:
    """Refuse a guide whose latent sites are not those of the model."""
    latent = sites_by_role(guide, "latent").items()
    drawn = [name for name, site in latent if not site["infer"].get("is_auxiliary")]
    wanted = list(sites_by_role(model, "latent"))
    left = set(wanted) - set(drawn) - set(missing_values(model))
    if left or set(drawn) - set(wanted) or not drawn:
        raise SpecError(
            f"the model draws {_listed(wanted)} and the guide draws {_listed(drawn)}: both "
            "must draw the same latent sites"
        )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names) or "nothing"


def _codes(trace: Trace) -> dict[str, Tensor]:
    return {name: site["value"] for name, site in sites_by_role(trace, "latent").items()}
