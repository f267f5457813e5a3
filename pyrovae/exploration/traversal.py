"""Latent traversal: one latent dimension moved, the others held fixed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyrovae.errors import DataError
from pyrovae.evaluation.batches import batch_of
from pyrovae.evaluation.latent_use import LatentUse, latent_use
from pyrovae.evaluation.results import Number, Variable
from pyrovae.exploration.decoder_change import changes
from pyrovae.exploration.latent_paths import codes_on
from pyrovae.exploration.latent_space import LatentSpace
from pyrovae.exploration.result import Result
from pyrovae.programs.arguments import options_checked
from pyrovae.programs.autoencoder import Autoencoder
from pyrovae.programs.given_values import as_count

# Of more rows nobody sees anything, and each is decoded.
MOST_DIMENSIONS = 32
# The prior's quantiles between which a dimension is moved.
LOWEST, HIGHEST = 0.01, 0.99

HIGGINS = "Higgins et al. (2017), β-VAE"


@dataclass(frozen=True, eq=False, repr=False)
class Traversals(Result):
    """Decoded latents of one observation, with one dimension at a time moved through the prior.

    Rows are latent dimensions, the most informative of the data first. Arrays of all rows are
    ``(dims,)``; only the first ``shown`` of them are decoded.

    Attributes:
        names: Names of the dimensions, such as ``z[3]``.
        kl: Mean KL of each in nats, ``(dims,)``; NaN where guide or prior does not factorise.
        variance: Variance of the mean of q over the data, in units of the prior's, ``(dims,)``.
        active: Mask of the active dimensions, ``(dims,)``; the others have collapsed.
        probabilities: Probabilities of the prior's quantiles, ``(steps,)``.
        values: The quantiles, ``(shown, steps)``.
        code: Latents of the observation, ``(shown,)``.
        change: Root mean squared change of the output per value from one quantile to the next,
            in units of the data, ``(shown, steps - 1)``.
        images: Means of p(x | z), ``(shown, steps, *shape)``.
        datum: The observation, ``shape``.
        reconstruction: The mean of p(x | z) at its latents, ``shape``.
    """

    names: list[str]
    kl: NDArray[Any]
    variance: NDArray[Any]
    active: NDArray[Any]
    probabilities: NDArray[Any]
    values: NDArray[Any]
    code: NDArray[Any]
    change: NDArray[Any]
    images: Tensor
    datum: Tensor
    reconstruction: Tensor

    name: ClassVar[str] = "traversals"
    title: ClassVar[str] = "Latent traversals"

    @property
    def shown(self) -> int:
        """Number of dimensions that are decoded."""
        return len(self.images)

    @property
    def left_out(self) -> int:
        """Number of dimensions that are not decoded."""
        return len(self.names) - self.shown

    @property
    def by_kl(self) -> bool:
        """True if rows are ordered by KL, False if by variance."""
        return bool(np.isfinite(self.kl).all())

    @property
    def path_length(self) -> NDArray[Any]:
        """Length of the output's path from the first to the last quantile, ``(shown,)``."""
        return self.change.sum(-1)

    def summary(self) -> str:
        most = int(self.path_length.argmax())
        moves = self.active[: self.shown]
        text = (
            f"{int(self.active.sum())} of {len(self.names)} dimensions are active. Moved from "
            f"the {100 * LOWEST:g} % to the {100 * HIGHEST:g} % quantile of the prior, "
            f"{self.names[most]} changes the output the most, by {self.path_length[most]:.3g} "
            "(root mean square per value, summed over the steps)"
        )
        if not moves.all():
            text += f", and a collapsed one at most by {self.path_length[~moves].max():.3g}"
        text += f". Rows are ordered by {self._order_in_words()}"
        if self.left_out:
            text += f"; the last {self.left_out} of {len(self.names)} are left out"
        return text + "."

    def numbers(self) -> list[Number]:
        moves = self.active[: self.shown]
        steps = len(self.probabilities)
        path = (
            f"root mean squared change of E[x | z] per value from one of {steps} quantiles of "
            f"the prior to the next, summed from {100 * LOWEST:g} % to "
            f"{100 * HIGHEST:g} %, at one observation's latent"
        )
        found = [
            Number("active dimensions", float(self.active.sum()), "dimensions", _ACTIVE),
            Number("dimensions decoded", float(self.shown), "dimensions", "rows of the picture"),
        ]
        if moves.any():
            mean = float(self.path_length[moves].mean())
            definition = f"{path}; mean over the active dimensions decoded"
            found.append(Number("change, active", mean, "data units", definition, HIGGINS))
        if not moves.all():
            most = float(self.path_length[~moves].max())
            definition = f"{path}; the largest of the collapsed dimensions decoded"
            found.append(Number("change, collapsed", most, "data units", definition))
        return found

    def variables(self) -> dict[str, Variable]:
        row, decoded = ("latent",), ("shown",)
        return {
            "dimension": Variable(row, np.array(self.names), "latent dimensions in their order"),
            "kl": Variable(row, self.kl, "mean KL(q(z_d | x), p(z_d)) in nats; NaN: no such sum"),
            "variance": Variable(row, self.variance, "variance of E_q[z_d] over that of p(z_d)"),
            "active": Variable(row, self.active, _ACTIVE),
            "probability": Variable(("step",), self.probabilities, "of the prior's quantiles"),
            "quantile": Variable((*decoded, "step"), self.values, "quantiles of p(z_d)"),
            "code": Variable(decoded, self.code, "the observation's own z_d"),
            "change": Variable(
                (*decoded, "pair of steps"),
                self.change,
                "root mean squared change of E[x | z] per value, in units of the data",
            ),
        }

    def _order_in_words(self) -> str:
        if self.by_kl:
            return "KL"
        return (
            "the variance of the mean of q over that of the prior, since the KL of single "
            "dimensions is not known for this prior and guide"
        )


_ACTIVE = "dimensions whose mean varies with the data and, where it is known, has KL"


@options_checked
def traverse(
    autoencoder: Autoencoder, batch: Any, *, datum: int = 0, steps: int = 11
) -> Traversals:
    r"""Move one latent dimension of an observation at a time through the quantiles of the prior.

    .. math::
        z_d = F_d^{-1}(p), \qquad p = 0.01, \dots, 0.99,
        \qquad z_e = \mathbb{E}_{q(z \mid x)}[z_e] \text{ for } e \ne d

    with :math:`F_d` the distribution function of :math:`z_d` under p(z): the same steps for every
    prior. For a prior whose dimensions are dependent, it is the marginal. On the sphere the other
    dimensions are scaled to keep the length. Where the mean of q is not known, a draw takes its
    place.

    Args:
        autoencoder: Model and guide.
        batch: The data over which KL is averaged: a batch or a tensor of values as the model sees
            them, a split, splits, of which the test data are taken, an array or a DataFrame.
        datum: Index of the observation to move.
        steps: Number of quantiles.

    Raises:
        DataError: There are fewer than 20 data, or no such observation.
        SpecError: There are fewer than two steps, or latents cannot be moved.

    References:
        Higgins et al. (2017), *β-VAE: Learning Basic Visual Concepts with a Constrained
        Variational Framework*, section 4.
    """
    batch = batch_of("traverse(vae, data)", autoencoder, batch)
    if not isinstance(datum, int) or not 0 <= datum < len(batch):
        raise DataError(f"datum = {datum!r}: there are {len(batch)} data, the first is 0")
    steps = as_count("traverse", steps, "steps", least=2)
    space = LatentSpace(autoencoder, batch)
    code = codes_on(space, batch[datum : datum + 1])[0]
    use = latent_use(autoencoder, batch)
    variance = use.mean_variance / use.prior_variance
    order = _order(use.kl, variance)
    shown = order[:MOST_DIMENSIONS].tolist()
    probabilities = torch.linspace(LOWEST, HIGHEST, steps, dtype=torch.float64)
    values = space.quantiles(probabilities)[:, shown].T.to(code)
    codes = [space.move(code, dim, row) for dim, row in zip(shown, values, strict=True)]
    decoded = space.decode(torch.cat([code.unsqueeze(0), *codes]))
    images = decoded[1:].unflatten(0, (len(shown), steps))
    return Traversals(
        names=[space.names[dim] for dim in order],
        **_reordered(use, variance, order),
        probabilities=probabilities.numpy(),
        values=values.numpy(),
        code=code[shown].numpy(),
        change=changes(images, batch.x.ndim - 1).numpy(),
        images=images,
        datum=batch.x[datum].cpu(),
        reconstruction=decoded[0],
    )


def _order(kl: NDArray[Any], variance: NDArray[Any]) -> NDArray[Any]:
    """Dimensions by KL, or by variance unless the KL of all is known; the largest first."""
    key = kl if np.isfinite(kl).all() else variance
    return np.argsort(-key, kind="stable")


def _reordered(
    use: LatentUse, variance: NDArray[Any], order: NDArray[Any]
) -> dict[str, NDArray[Any]]:
    arrays = {"kl": use.kl, "variance": variance, "active": use.active}
    return {name: array[order] for name, array in arrays.items()}
