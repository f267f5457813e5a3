"""Objectives that are a sum of bounds, one per observation."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from pyrovae.objectives.abstract import Objective
from pyrovae.programs.densities import Densities


class Bound(Objective):
    """The negative mean over observations of a bound on log p(x)."""

    @abstractmethod
    def bound(self, found: Densities, beta: float | Tensor) -> Tensor:
        """Return the bound of each observation, ``(data,)`` in nats, with its ascent gradient."""

    def _loss(self, found: Densities, beta: float | Tensor, weights: Tensor | None) -> Tensor:
        bound = self.bound(found, beta)
        return -(bound if weights is None else bound * weights).mean()
