"""The path of densities from a start to p(z | x), along which chains are annealed."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from pyrovae.errors import SpecError
from pyrovae.evaluation import hamiltonian
from pyrovae.evaluation.hamiltonian import Densities, LogDensity
from pyrovae.evaluation.local import LocalPosterior

Start = Literal["guide", "prior"]


class Path:
    """Densities between a start and log p(x, z), as functions of free points.

    Args:
        local: Posteriors of a few data.
        start: Density at β = 0.
        between: :func:`between` from the start, of any data.

    Attributes:
        scales: Standard deviations at the start and at the end, where known.

    Raises:
        SpecError: A guide without density as the start; latents without gradients.
    """

    def __init__(self, local: LocalPosterior, start: Start, between: Densities) -> None:
        if start == "guide":
            require_start(local)
        hamiltonian.require_gradient(local)
        self.local = local
        self.start: Start = start
        self.between = between
        self.coordinates = local.coordinates
        end = hamiltonian.guide_scale(local)
        self.scales = (self._start_scale(end), end)

    def draw(self, chains: int) -> Tensor:
        """Free points from the start."""
        local = self.local
        z = local.draw_guide(chains) if self.start == "guide" else local.draw_prior(chains)
        return self.coordinates.free(z)

    def log_prob(self, beta: float) -> LogDensity:
        """The density at β, up to a constant."""
        if beta == 1:
            return hamiltonian.posterior_density(self.local)
        if beta == 0:
            return self._log_start
        return self.between.of(self.local, self.scales[0].new_tensor(beta, dtype=torch.float64))

    def scale(self, beta: float) -> Tensor:
        """Standard deviations at β, ``(data, dims)``; exact for normals."""
        start, end = self.scales
        return ((1 - beta) / start.square() + beta / end.square()).rsqrt()

    def _log_start(self, u: Tensor) -> Tensor:
        z, gain = self.coordinates.code(u)
        log_start = (
            self.local.log_model(z)[0] if self.start == "prior" else self.local.log_guide(z)
        )
        return log_start + gain

    def _start_scale(self, end: Tensor) -> Tensor:
        if self.start == "guide":
            return end
        draws = self.local.draw_prior(hamiltonian.SCALE_DRAWS)
        return hamiltonian.spread(self.coordinates, draws)


def between(start: Start, local: LocalPosterior, u: Tensor, beta: Tensor) -> Tensor:
    """The density at a β in (0, 1); at 0 and 1, an infinite term times zero would be NaN."""
    z, gain = local.coordinates.code(u)
    if start == "prior":
        log_prior, log_likelihood = local.log_model(z)
        return log_prior + beta * log_likelihood + gain
    return (1 - beta) * local.log_guide(z) + beta * local.log_joint(z) + gain


def require_start(local: LocalPosterior) -> None:
    """Refuse a guide from which no chain can start.

    Raises:
        SpecError: The guide is a point.
    """
    if local.point:
        raise SpecError(
            "the guide is a point and has no density to start from: log p(x) can be had by "
            'annealing from the prior, start="prior"'
        )
