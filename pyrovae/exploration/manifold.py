"""The decoded plane of a model with two latent dimensions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyrovae.errors import SpecError
from pyrovae.evaluation.batches import batch_of
from pyrovae.evaluation.results import Number, Variable, percent
from pyrovae.exploration.decoder_change import changes
from pyrovae.exploration.latent_space import LatentSpace
from pyrovae.exploration.result import Result
from pyrovae.programs.arguments import options_checked
from pyrovae.programs.autoencoder import Autoencoder
from pyrovae.programs.given_values import as_count

KINGMA = "Kingma and Welling (2014), arXiv:1312.6114, figure 4"

# A change this many times the median is called a cliff; ours.
CLIFF = 3.0


@dataclass(frozen=True, eq=False, repr=False)
class Manifold(Result):
    """A decoded plane of latents: cells of equal prior probability along both axes.

    Attributes:
        axes: Names of the horizontal and the vertical axis.
        probabilities: Cumulative prior probabilities at the middles of the cells along both axes,
            ``(size,)``; on the sphere those of the uniform distribution, for any prior.
        codes: ``(size, size, dims)``, rows from the bottom up.
        images: Means of p(x | z), ``(size, size, *shape)``, rows from the bottom up.
        across: Root mean squared change of the output per value from a cell to its right
            neighbour, in units of the data, ``(size, size - 1)``.
        upward: The same to the upper neighbour, ``(size - 1, size)``.
    """

    axes: tuple[str, str]
    probabilities: NDArray[Any]
    codes: NDArray[Any]
    images: Tensor
    across: NDArray[Any]
    upward: NDArray[Any]

    name: ClassVar[str] = "manifold"
    title: ClassVar[str] = "The latent plane"

    @property
    def changes(self) -> NDArray[Any]:
        """Changes between all neighbours, flattened."""
        return np.concatenate([self.across.ravel(), self.upward.ravel()])

    @property
    def cliffs(self) -> float:
        """Share of neighbours whose outputs differ by more than three times the median."""
        return float((self.changes > CLIFF * np.median(self.changes)).mean())

    def summary(self) -> str:
        size, median = len(self.images), float(np.median(self.changes))
        text = (
            f"On a grid of {size} × {size} cells, even in probability, neighbours differ by "
            f"{median:.3g} in the median (root mean square per value) and by "
            f"{self.changes.max():.3g} at most"
        )
        if not median > 0:
            return text + "."
        return (
            f"{text}, {self.changes.max() / median:.1f} times as much; {percent(self.cliffs)} of "
            f"neighbours differ by more than {CLIFF:g} times the median, where the model "
            "separates kinds of data."
        )

    def numbers(self) -> list[Number]:
        what = "root mean squared difference of E[x | z] per value between neighbouring cells"
        share = f"share of neighbours that differ by more than {CLIFF:g} times the median"
        unit = "data units"
        changes = self.changes
        return [
            Number("change, median", float(np.median(changes)), unit, f"{what}; median", KINGMA),
            Number("change, largest", float(changes.max()), unit, f"{what}; the largest"),
            Number("edges", self.cliffs, "fraction", share),
        ]

    def variables(self) -> dict[str, Variable]:
        change = "root mean squared change of E[x | z] per value to the"
        return {
            "probability": Variable(
                ("cell",), self.probabilities, "below the middles of cells, both axes"
            ),
            "code": Variable(("row", "column", "latent"), self.codes, "rows from the bottom up"),
            "across": Variable(
                ("row", "pair of columns"), self.across, f"{change} right neighbour"
            ),
            "upward": Variable(
                ("pair of rows", "column"), self.upward, f"{change} upper neighbour"
            ),
        }


@options_checked
def manifold(autoencoder: Autoencoder, like: Any, *, size: int = 20) -> Manifold:
    r"""Decode a plane of latents.

    .. math::
        z = (F_1^{-1}(p_j), F_2^{-1}(p_i)), \qquad p_i = (i - 1/2) / n

    with :math:`F_d` the distribution function of :math:`z_d` under p(z): where both are
    independent, every cell has the same probability. Latents on the sphere in three dimensions
    have a plane as well, of longitudes and heights, whose cells all have the same area.

    Args:
        autoencoder: Model and guide.
        like: Any observations, of which only the shape is used; see
            :func:`pyrovae.exploration.traversal.traverse`.
        size: :math:`n`.

    Raises:
        SpecError: There are more or fewer than two latent dimensions, or only one cell.

    References:
        Kingma and Welling (2014), *Auto-Encoding Variational Bayes*, arXiv:1312.6114, figure 4.
    """
    like = batch_of("manifold(vae, data)", autoencoder, like)
    size = as_count("manifold", size, "cells in a row", least=2)
    space = LatentSpace(autoencoder, like)
    spherical = space.spherical
    _require_two_dimensions(space.dims - spherical, space.dims)
    probabilities = (torch.arange(size, dtype=torch.float64) + 0.5) / size
    codes = _sphere(probabilities) if spherical else _plane(space, probabilities)
    images = space.decode(codes.flatten(0, 1)).unflatten(0, (size, size))
    dims = like.x.ndim - 1
    return Manifold(
        axes=_axes(space.names, spherical=spherical),
        probabilities=probabilities.numpy(),
        codes=codes.numpy(),
        images=images,
        across=changes(images, dims).numpy(),
        upward=changes(images.transpose(0, 1), dims).T.numpy(),
    )


def _require_two_dimensions(found: int, latent_dim: int) -> None:
    if found != 2:
        raise SpecError(
            f"the latents have {found} {'dimension' if found == 1 else 'dimensions'}, and a plane "
            "shows 2: look at the traversals, or train with model.latent_dim = "
            f"{2 + latent_dim - found}"
        )


def _plane(space: LatentSpace, probabilities: Tensor) -> Tensor:
    horizontal, vertical = space.quantiles(probabilities).unbind(-1)
    return torch.stack(torch.meshgrid(horizontal, vertical, indexing="xy"), dim=-1)


def _sphere(probabilities: Tensor) -> Tensor:
    """Longitudes and heights, both uniform: Archimedes' map, which keeps areas."""
    longitude, height = torch.meshgrid(
        2 * torch.pi * probabilities, 2 * probabilities - 1, indexing="xy"
    )
    radius = (1 - height.square()).sqrt()
    return torch.stack([radius * longitude.cos(), radius * longitude.sin(), height], dim=-1)


def _axes(names: list[str], *, spherical: bool) -> tuple[str, str]:
    if spherical:
        return "longitude, share of the sphere", f"{names[2]}, share of the sphere"
    return f"{names[0]}, quantile of the prior", f"{names[1]}, quantile of the prior"
