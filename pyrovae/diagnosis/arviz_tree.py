"""Draws and checks as xarray trees, which both generations of ArviZ read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from pyrovae.errors import SpecError
from pyrovae.evaluation.local import Draws
from pyrovae.evaluation.results import Check, Variable
from pyrovae.programs.traces import group_of
from pyrovae.version import __version__

Array = Tensor | NDArray[Any]
# A coordinate besides the integers of a dimension: name of the dimension, and values.
Coordinate = tuple[str, Sequence[Any] | NDArray[Any]]

# A predictive draw is as large as all the data: MNIST's test set a thousand times is 8 GB.
PREDICTIVE_OBS, PREDICTIVE_DRAWS = 256, 100

GUIDE_NOTE = (
    "independent draws from the guide q(z | x): their R-hat is 1 and their effective sample size "
    "their number, whatever the guide; neither says that it is right"
)
CONDITIONAL_NOTE = (
    "log p(x | z) at draws of the guide, given each observation's own z: az.loo and az.waic of it "
    "are not meaningful (the harmonic-mean estimator of p(x)); compare models by log p(x) instead"
)


class Statistics(NamedTuple):
    """Summaries of data sets: the observed one, and replicated ones.

    Attributes:
        names: Names of the statistics.
        observed: Values on the data, ``(statistics,)``.
        replicated: Values on data sets from the prior predictive,
            ``(replicates, statistics)``.
    """

    names: Sequence[str]
    observed: Array
    replicated: Array


def posterior_tree(
    *,
    draws: Draws | None = None,
    prior: Array | None = None,
    prior_predictive: Array | Mapping[str, Array] | Statistics | None = None,
    posterior_predictive: Array | Mapping[str, Array] | None = None,
    observed: Array | Mapping[str, Array] | None = None,
    pit: Array | None = None,
    pit_names: Sequence[str] | None = None,
    pit_log_joint: Array | None = None,
    checks: Iterable[Check] = (),
    names: Sequence[str] | None = None,
    obs: Sequence[int] | None = None,
    labels: Array | Sequence[Any] | None = None,
    attrs: Mapping[str, Any] | None = None,
) -> xr.DataTree:
    """Assemble draws, data and checks as a tree with a group for each; None leaves one out.

    Dimensions are chain (always one: draws of a guide are independent), draw, obs, latent, each
    with integer coordinates. Several latent sites are a variable each, with a dimension
    latent_<site>; the sites ``z_1``, ``z_2``, ... of a chain are one. Intensities that are
    integers from 0 to 255 are kept as uint8, whose differences wrap around: convert them before
    subtracting.

    Args:
        draws: Draws from the guide with their log-densities: groups posterior, sample_stats and
            log_likelihood.
        prior: Latents from the prior ``(draws, obs, latent)``.
        prior_predictive: Data sets from the model ``(draws, obs, *shape)``, those of several
            variables by name; or their statistics, each of which becomes a variable.
        posterior_predictive: Data drawn given the guide's draws, as ``prior_predictive``; at most
            100 draws of 256 data are kept of both.
        observed: The data ``(obs, *shape)``, those of several variables by name.
        pit: Probability integral transforms of the latents of simulated data under the guide,
            ``(simulations, latent)``, uniform if the guide is calibrated: group prior_sbc.
        pit_names: Names of the latent dimensions of ``pit``, which are not discrete.
        pit_log_joint: Ranks of log p(x, z) among draws of the guide, ``(simulations,)``.
        checks: Checks, whose arrays make up the group diagnostics, and whose verdicts are its
            attributes. A dimension or variable that has another length or meaning in an earlier
            check is called ``<name>_<check>``.
        names: Names of the latent dimensions, such as ``z[0]``: the coordinate latent_name.
        obs: Row numbers of the data; 0, 1, ... by default.
        labels: Labels of the data, the coordinate label along obs.
        attrs: Attributes of the tree: the model, the data, the time.
    """
    coords = _coordinates(obs=obs, label=labels, latent_name=names)
    few = {name: _head(dim, values) for name, (dim, values) in coords.items()}
    groups: dict[str, xr.Dataset] = {}
    if draws is not None:
        groups |= _guide_groups(draws, coords, names)
    if prior is not None:
        codes = _draw_major(prior, ("obs", "latent"), "latents from the prior")
        groups["prior"] = dataset(_by_site(codes, names), coords)
    if isinstance(prior_predictive, Statistics):
        groups["prior_predictive"] = dataset(_replicated(prior_predictive))
    elif prior_predictive is not None:
        drawn = _predictive(prior_predictive, "data drawn from the model")
        groups["prior_predictive"] = dataset(drawn, few)
    if posterior_predictive is not None:
        drawn = _predictive(posterior_predictive, "data drawn given the guide's draws")
        groups["posterior_predictive"] = dataset(drawn, few)
    data = {} if observed is None else _data(observed)
    if isinstance(prior_predictive, Statistics):
        data |= _observed(prior_predictive)
    if data:
        groups["observed_data"] = dataset(data, coords)
    calibration = _calibration(pit, pit_log_joint, pit_names)
    if calibration:
        groups["prior_sbc"] = dataset(calibration, _coordinates(latent_name=pit_names))
    checks = list(checks)
    if checks:
        groups["diagnostics"] = _diagnostics(checks, coords, _lengths(groups))
    return as_tree(groups, attrs)


def mcmc_tree(
    z: Array,
    sample_stats: Mapping[str, Array | Variable],
    starts: Sequence[str],
    *,
    names: Sequence[str] | None = None,
    obs: Sequence[int] | None = None,
    attrs: Mapping[str, Any] | None = None,
    sampler: str = "mcmc",
) -> xr.DataTree:
    """Assemble draws from p(z | x) by MCMC as a tree, to compare with that of a guide.

    Args:
        z: Latents ``(chain, draw, obs, latent)``.
        sample_stats: Statistics by name, each ``(chain, draw, obs)`` or with the leading
            dimensions alone; or a variable with dimensions of its own.
        starts: Start of each chain, "guide" or "prior": the coordinate init along chain.
        names: Names of the latent dimensions.
        obs: Row numbers of the data, as in the guide's tree, so that observations match.
        attrs: Attributes of the tree.
        sampler: Origin of the draws, an attribute of their group.
    """
    coords = _coordinates(obs=obs, init=starts, latent_name=names)
    codes = Variable(("chain", "draw", "obs", "latent"), array(z), "latents from p(z | x)")
    stats = {
        name: value
        if isinstance(value, Variable)
        else Variable(codes.dims[: value.ndim], array(value), name.replace("_", " "))
        for name, value in sample_stats.items()
    }
    groups = {
        "posterior": dataset(_by_site(codes, names), coords, {"sampler": sampler}),
        "sample_stats": dataset(stats, coords),
    }
    return as_tree(groups, attrs)


def as_installed(tree: xr.DataTree) -> Any:
    """Convert a tree to the type that the installed ArviZ reads.

    Returns:
        ``arviz.InferenceData`` with ArviZ 0.23, the tree itself with 1.x.

    Raises:
        SpecError: It is no tree.
    """
    if not isinstance(tree, xr.DataTree):
        raise SpecError(
            f"to_arviz(tree): the first argument is of type {type(tree).__name__}: give a tree, "
            "as diagnose(vae, data).tree() returns"
        )
    import arviz

    # ArviZ 1.x still answers to the name InferenceData: only the version tells.
    if int(arviz.__version__.partition(".")[0]) >= 1:
        return tree
    return arviz.InferenceData.from_datatree(tree)


def as_tree(
    groups: Mapping[str, xr.Dataset], attrs: Mapping[str, Any] | None = None
) -> xr.DataTree:
    """Groups by name as one tree, with library and version as attributes."""
    made_by = {"inference_library": "pyrovae", "inference_library_version": __version__}
    made = xr.DataTree.from_dict({f"/{name}": group for name, group in groups.items()})
    made.attrs = {**made_by, **(attrs or {})}
    return made


def dataset(
    variables: Mapping[str, Variable],
    coords: Mapping[str, Coordinate] | None = None,
    attrs: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Variables by name, with integer coordinates along every dimension.

    Plots of ArviZ 1.x do not work along dimensions that have none.

    Args:
        variables: The arrays with their descriptions.
        coords: Other coordinates; those along a dimension that no variable has are left out.
        attrs: Attributes of the group.
    """
    data = xr.Dataset(
        {
            name: (variable.dims, variable.values, {"description": variable.description})
            for name, variable in variables.items()
        }
    )
    integers = {dim: np.arange(size) for dim, size in data.sizes.items()}
    of_dims = {name: (dim, v) for name, (dim, v) in (coords or {}).items() if dim in data.sizes}
    return data.assign_coords({**integers, **of_dims}).assign_attrs(attrs or {})


def array(values: Array) -> NDArray[Any]:
    """Convert a tensor or an array to an array."""
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else values


def compact(values: Array) -> NDArray[Any]:
    """Convert values that are all integers from 0 to 255 to uint8.

    Example:
        >>> compact(np.array([0.0, 255.0])).dtype, compact(np.array([0.5, 1.0])).dtype
        (dtype('uint8'), dtype('float64'))
    """
    values = array(values)
    small = values.size > 0 and values.min() >= 0 and values.max() <= 255
    return values.astype(np.uint8) if small and (values == np.rint(values)).all() else values


def event_dims(name: str, rank: int) -> tuple[str, ...]:
    """ArviZ's names of unnamed dimensions: ``x_dim_0``, ``x_dim_1``, ..."""
    return tuple(f"{name}_dim_{i}" for i in range(rank))


def label(name: str) -> str:
    """Name of a site or plate for a file, in which a slash would mean a group."""
    return name.replace("/", ".")


def _coordinates(obs: Any = None, **others: Any) -> dict[str, Coordinate]:
    """Coordinates that are given, each with its dimension."""
    homes = {"label": "obs", "latent_name": "latent", "init": "chain"}
    coords: dict[str, Coordinate] = {} if obs is None else {"obs": ("obs", np.asarray(obs))}
    for name, values in others.items():
        if values is not None:
            values = array(values) if isinstance(values, Tensor) else np.asarray(values)
            coords[name] = (homes[name], values)
    return coords


def _head(dim: str, values: Any) -> Coordinate:
    return dim, values[:PREDICTIVE_OBS] if dim == "obs" else values


def _draw_major(values: Array, dims: tuple[str, ...], description: str) -> Variable:
    """Values ``(draws, *dims)`` as a variable of one chain."""
    return Variable(("chain", "draw", *dims), array(values)[None], description)


def _by_site(codes: Variable, names: Sequence[str] | None) -> dict[str, Variable]:
    """Latents of all sites, the last dimension, as a variable for each site."""
    columns: dict[str, list[int]] = {}
    for index, name in enumerate(names or ["z"]):
        columns.setdefault(group_of(name.partition("[")[0]), []).append(index)
    if len(columns) == 1:
        return {label(name): codes for name in columns}
    return {
        label(name): codes._replace(
            dims=(*codes.dims[:-1], f"latent_{label(name)}"), values=codes.values[..., indices]
        )
        for name, indices in columns.items()
    }


def _guide_groups(
    draws: Draws, coords: Mapping[str, Coordinate], names: Sequence[str] | None
) -> dict[str, xr.Dataset]:
    attrs = {"sampler": "guide", "note": GUIDE_NOTE}
    codes = _draw_major(draws.z, ("obs", "latent"), "latents from q(z | x)")
    densities = {
        "log_prior": _draw_major(draws.log_prior, ("obs",), "log p(z), nats"),
        "log_guide": _draw_major(draws.log_guide, ("obs",), "log q(z | x), nats"),
        "log_weight": _draw_major(draws.log_weight, ("obs",), "log p(x, z) - log q(z | x), nats"),
    }
    likelihood = _draw_major(draws.log_likelihood, ("obs",), "log p(x | z), nats")
    warning = {"warning": CONDITIONAL_NOTE}
    conditional = dataset({"x_given_z": likelihood}, coords, warning)
    conditional["x_given_z"].attrs |= warning
    return {
        "posterior": dataset(_by_site(codes, names), coords, attrs),
        "sample_stats": dataset(densities, coords, {"sampler": "guide"}),
        "log_likelihood": conditional,
    }


def _predictive(data: Array | Mapping[str, Array], description: str) -> dict[str, Variable]:
    kept = {
        name: compact(values[:PREDICTIVE_DRAWS, :PREDICTIVE_OBS])
        for name, values in _by_variable(data).items()
    }
    return {
        name: _draw_major(values, ("obs", *event_dims(name, values.ndim - 2)), description)
        for name, values in kept.items()
    }


def _data(data: Array | Mapping[str, Array]) -> dict[str, Variable]:
    return {
        name: Variable(
            ("obs", *event_dims(name, values.ndim - 1)),
            compact(values),
            "the data, as the model sees",
        )
        for name, values in _by_variable(data).items()
    }


def _by_variable(data: Array | Mapping[str, Array]) -> Mapping[str, Array]:
    return data if isinstance(data, Mapping) else {"x": data}


def _replicated(statistics: Statistics) -> dict[str, Variable]:
    columns = array(statistics.replicated).T
    return {
        name: _draw_major(values, (), f"{name} of data sets drawn from the model")
        for name, values in zip(statistics.names, columns, strict=True)
    }


def _observed(statistics: Statistics) -> dict[str, Variable]:
    return {
        name: Variable((), np.asarray(value), f"{name} of the data")
        for name, value in zip(statistics.names, array(statistics.observed), strict=True)
    }


def _calibration(
    pit: Array | None, pit_log_joint: Array | None, names: Sequence[str] | None
) -> dict[str, Variable]:
    found: dict[str, Variable] = {}
    if pit is not None:
        codes = _draw_major(pit, ("latent",), "probability integral transforms")
        found |= _by_site(codes, names)
    if pit_log_joint is not None:
        found["log_joint"] = _draw_major(pit_log_joint, (), "the same of log p(x, z)")
    return found


def _lengths(groups: Mapping[str, xr.Dataset]) -> dict[str, int]:
    """Numbers of data and of latent dimensions in the tree."""
    about = [groups[name].sizes for name in ("posterior", "observed_data") if name in groups]
    return {
        str(dim): size
        for sizes in reversed(about)
        for dim, size in sizes.items()
        if dim in ("obs", "latent")
    }


def _diagnostics(
    checks: Sequence[Check], coords: Mapping[str, Coordinate], lengths: dict[str, int]
) -> xr.Dataset:
    """The variables of all checks; the first to use a name keeps it."""
    found: dict[str, Variable] = {}
    for check in checks:
        suffix = type(check).__name__.lower()
        variables = check.variables()
        own = {
            dim: size if lengths.setdefault(dim, size) == size else None
            for variable in variables.values()
            for dim, size in zip(variable.dims, variable.values.shape, strict=True)
        }
        renamed = {dim: f"{dim}_{suffix}" if size is None else dim for dim, size in own.items()}
        for name, variable in variables.items():
            free = name if name not in found else f"{name}_{suffix}"
            dims = tuple(renamed[dim] for dim in variable.dims)
            found[free] = variable._replace(dims=dims)
    taken = {dim for variable in found.values() for dim in variable.dims}
    # A variable with the name of a dimension would become its coordinate.
    found = {f"{name}_value" if name in taken else name: value for name, value in found.items()}
    fitting = {
        name: (dim, values)
        for name, (dim, values) in coords.items()
        if lengths.get(dim) == len(values)
    }
    verdicts = {check.question: check.verdict() for check in checks}
    attrs = {question: f"{grade}: {finding}" for question, (grade, finding, _) in verdicts.items()}
    return dataset(found, fitting, attrs)
