"""Means and standard deviations of latents, from weighted draws or from the guide itself."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pyrovae.errors import SpecError
from pyrovae.evaluation.angles import on_plane
from pyrovae.evaluation.encoding import EncodedSite, deviation, encode_batch
from pyrovae.evaluation.local import LocalPosterior
from pyrovae.evaluation.refinement import RefinedPosterior


def described(local: LocalPosterior, z: Tensor, log_weight: Tensor) -> dict[str, EncodedSite]:
    """Moments of weighted draws, by latent site; NaN where a mask hides a latent.

    Args:
        local: The posteriors, on the device of the draws or not.
        z: Draws ``(draws, data, dims)``.
        log_weight: Logarithms of weights that sum to one, ``(draws, data)``.

    Raises:
        SpecError: Values of a discrete latent cannot be listed one by one.
    """
    weight = log_weight.exp().unsqueeze(-1)
    z, angles = z.double(), local.angles.to(z.device)
    hidden = ~local.present.to(z.device)
    point = (weight.unsqueeze(-1) * on_plane(z, angles)).sum(0)
    mean = torch.where(angles, torch.atan2(point[..., 1], point[..., 0]), point[..., 0])
    spread = (weight * (z - mean).square()).sum(0).sqrt()
    mean, spread = (v.masked_fill(hidden, torch.nan) for v in (mean, spread))
    chances = _probabilities(local, z, weight) if local.discrete.any() else {}
    found, start = {}, 0
    for name, shape in local.shapes.items():
        place = slice(start, start := start + shape.numel())
        if name in chances:
            known = chances[name].masked_fill(hidden[:, place].unsqueeze(-1), torch.nan)
            mode = known.argmax(-1).double().masked_fill(hidden[:, place], torch.nan)
            found[name] = EncodedSite(mode.float(), None, known.float(), drawn=False)
            continue
        turns = bool(angles[place].any())
        sd = None if turns else spread[:, place].float()
        found[name] = EncodedSite(mean[:, place].float(), sd, None, drawn=False)
    return found


def guide_described(local: LocalPosterior) -> dict[str, EncodedSite] | None:
    """The same of the guide itself, without draws; None if its mean is not known."""
    if not isinstance(local, RefinedPosterior):
        sites = encode_batch(local.autoencoder, local.batch, local.shapes)
        return None if any(site.drawn for site in sites.values()) else sites
    q: Any = local.free(local.x)
    try:
        mean = q.mean
    except NotImplementedError:
        return None
    (name,) = local.shapes
    spread = deviation(q)
    sd = None if spread is None else spread.detach().float()
    return {name: EncodedSite(mean.detach().float(), sd, None, drawn=False)}


def _probabilities(local: LocalPosterior, z: Tensor, weight: Tensor) -> dict[str, Tensor]:
    """Weights of the values of each discrete site, ``(data, latents, values)``."""
    listed = local.probabilities(1)
    found, start = {}, 0
    for name, shape in local.shapes.items():
        place = slice(start, start := start + shape.numel())
        if not local.discrete[place].any():
            continue
        if name not in listed or listed[name].shape[2] != shape.numel():
            raise SpecError(
                f"the values of the discrete latent '{name}' cannot be listed one by one, so "
                "weighted draws have no most probable one: leave resample out"
            )
        values = range(listed[name].shape[-1])
        found[name] = torch.stack([(weight * (z[..., place] == k)).sum(0) for k in values], -1)
    return found
