"""Controlled capacity: a KL that is held at a target."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from pyrovae.objectives.abstract import Objective
from pyrovae.objectives.requirements import DENSITY, REPARAMETERISED, Requirement
from pyrovae.objectives.schedules import Budget
from pyrovae.programs.densities import Densities


class CapacityELBO(Objective):
    r"""Reconstruction under a KL that is held at C nats.

    .. math::
        \frac1M \sum_m \mathbb{E}_q \log p(x_m \mid z) -
        \beta\, \Big| \frac1M \sum_m \operatorname{KL}(x_m) - C \Big|

    In training C rises from zero in proportion to the steps, until it is ``capacity`` after
    ``warmup_epochs``; under ``SVI`` it is ``capacity`` throughout. β is the γ of the paper.

    Args:
        num_particles: Draws of the latent.
        capacity: Final value of C, in nats.
        warmup_epochs: Epochs over which C rises.
        options: Options of Pyro's ``ELBO``.

    References:
        Burgess et al. (2018), *Understanding disentangling in beta-VAE*, arXiv:1804.03599.
    """

    needs: tuple[Requirement, ...] = (DENSITY, REPARAMETERISED)

    def __init__(
        self,
        num_particles: int = 1,
        capacity: float = 25.0,
        warmup_epochs: float = 50.0,
        **options: Any,
    ) -> None:
        super().__init__(num_particles, **options)
        self.capacity = capacity
        self.warmup_epochs = warmup_epochs
        self.setting = capacity
        self.title = f"ELBO with its KL held at {capacity:g} nats"

    def setting_at(self, step: int, budget: Budget) -> float:
        """Value of C after ``step`` finished steps."""
        progress = step / (self.warmup_epochs * budget.steps_per_epoch)
        return self.capacity * min(1.0, progress)

    def _loss(self, found: Densities, beta: float | Tensor, weights: Tensor | None) -> Tensor:
        present = found.present
        # Observations that a mask hides have no capacity either.
        capacity = self.setting if present is None else self.setting * present.double().mean()
        return beta * (found.kl.mean() - capacity).abs() - found.reconstruction.mean()
