"""Objectives that are a sum of bounds, one per observation."""

from __future__ import annotations

from abc import abstractmethod

from pyro.infer.util import is_validation_enabled
from torch import Tensor

from pyrovae.errors import SpecError
from pyrovae.objectives.abstract import Objective
from pyrovae.programs.densities import Densities


class Bound(Objective):
    """The negative mean over observations of a bound on log p(x)."""

    compares = False

    @abstractmethod
    def bound(self, found: Densities, beta: float | Tensor) -> Tensor:
        """Return the bound of each observation, ``(data,)`` in nats, with its ascent gradient."""

    def _loss(self, found: Densities, beta: float | Tensor, weights: Tensor | None) -> Tensor:
        bound = self.bound(found, beta)
        if is_validation_enabled() and bound.shape != found.reconstruction.shape[-1:]:
            raise SpecError(
                f"{type(self).__name__}.bound gives shape {tuple(bound.shape)} from log-densities "
                f"of shape {tuple(found.reconstruction.shape)}, (particles, data): give a number "
                "for each observation, as .mean(0) does"
            )
        return -(bound if weights is None else bound * weights).mean()
