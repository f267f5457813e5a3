"""Conversion of trees, and of posteriors of given data, for ArviZ."""

from __future__ import annotations

from typing import Any

import xarray as xr

from pyrovae.diagnosis.arviz_tree import as_installed, mcmc_tree
from pyrovae.errors import SpecError
from pyrovae.evaluation.results import Variable
from pyrovae.evaluation.semi_amortised import PosteriorSample, local_posterior
from pyrovae.programs.arguments import require_autoencoder


def to_arviz(source: Any, data: Any = None, **options: Any) -> Any:
    """Convert a tree, or the posterior of each observation, for ArviZ.

    Args:
        source: A tree, as ``diagnosis.tree()`` returns; what :func:`pyrovae.local_posterior`
            returned; or an autoencoder, with ``data``.
        data: The data, with an autoencoder: as for :func:`pyrovae.local_posterior`.
        options: With an autoencoder, ``refine_steps``, ``resample`` and the others of
            :func:`pyrovae.local_posterior`.

    Returns:
        ``arviz.InferenceData`` with ArviZ 0.23, a DataTree with 1.x.

    Raises:
        SpecError: Data or options are given with a tree or draws, or cannot work.
        DataError: See :func:`pyrovae.local_posterior`.
    """
    if isinstance(source, xr.DataTree | PosteriorSample) and (data is not None or options):
        raise SpecError(
            f"to_arviz: data and options are given with a {type(source).__name__}, which is "
            "converted as it is: give an autoencoder with them"
        )
    if isinstance(source, xr.DataTree):
        return as_installed(source)
    if isinstance(source, PosteriorSample):
        return as_installed(posterior_sample_tree(source))
    require_autoencoder("to_arviz(vae, data)", source)
    if data is None:
        raise SpecError("to_arviz(vae, data): there are no data: give those to draw latents of")
    return as_installed(posterior_sample_tree(local_posterior(source, data, **options)))


def posterior_sample_tree(drawn: PosteriorSample) -> xr.DataTree:
    """Draws from the posteriors as a tree; weighted draws are resampled to equal weights.

    Group sample_stats has the statistics of chains, or the shape k of the tails of the weights
    of the guide's draws.
    """
    gain, stats = drawn.gain, dict[str, Any](drawn.sample_stats)
    count = next(iter(stats.values())).shape[0] if stats else 1
    z = drawn.resampled()
    if not stats and gain.final is not None:
        khat = gain.final.khat.numpy()
        stats = {"khat": Variable(("obs",), khat, "shape k of the tail of the weights")}
    return mcmc_tree(
        z.reshape(count, -1, *z.shape[1:]),
        stats,
        ["guide"] * count,
        names=drawn.names,
        attrs={"refine_steps": gain.asked.refine_steps, "gain": str(gain)},
        sampler=gain.asked.resample or "guide",
    )
