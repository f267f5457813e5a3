"""ArviZ's statistics of chains, scalar by scalar."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def rhat(z: NDArray[Any]) -> NDArray[Any]:
    """R-hat ``(obs, latent)``; infinite where the chains never moved."""
    import arviz as az

    found = _of_scalars(az.rhat, z)
    return np.nan_to_num(found.astype(np.float64), nan=np.inf)


def ess(z: NDArray[Any]) -> NDArray[Any]:
    """Effective sample size ``(obs, latent)``; 0 where the chains never moved."""
    import arviz as az

    found = _of_scalars(az.ess, z)
    return np.nan_to_num(found.astype(np.float64), nan=0.0)


def _of_scalars(statistic: Any, z: NDArray[Any]) -> NDArray[Any]:
    """One of ArviZ's statistics, ``(obs, latent)``, of a Dataset for either generation."""
    import xarray as xr

    dims = ("chain", "draw", "obs", "latent")
    coords = {name: np.arange(size) for name, size in zip(dims, z.shape, strict=True)}
    with np.errstate(invalid="ignore", divide="ignore"):  # of numbers that do not vary
        return statistic(xr.Dataset({"z": (dims, z)}, coords=coords))["z"].to_numpy()
