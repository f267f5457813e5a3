"""Exponential moving average of the weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


class WeightAverage:
    r"""Average of the weights over the steps so far, the latest weighted most.

    .. math::
        \bar\theta_t = (1 - w_t) \, \bar\theta_{t-1} + w_t \, \theta_t,
        \qquad w_t = \max(1 / t, 1 - \text{decay})

    so it is the plain mean of the first 1 / (1 - decay) steps, and begins without the initial
    weights.

    Args:
        weights: Tensors that training changes in place; those of whole numbers are not averaged.
        decay: Share that a step leaves of the average.

    Attributes:
        is_used: True while the weights have the values of the average, and it keeps theirs.

    References:
        Polyak and Juditsky (1992), *Acceleration of Stochastic Approximation by Averaging*, SIAM
        J. Control Optim. 30; the average of Kingma and Ba (2015), *Adam*, section 7.2.
    """

    def __init__(self, weights: Sequence[Tensor], decay: float) -> None:
        self.decay = decay
        self.is_used = False
        self._weights = [weight.detach() for weight in weights if weight.is_floating_point()]
        self._values = [weight.clone() for weight in self._weights]
        self._steps = torch.zeros((), device=self._weights[0].device)

    @torch.no_grad()
    def update(self) -> None:
        """Add the present weights; nothing is read back, for CUDA graphs."""
        self._steps.add_(1)
        share = (1 / self._steps).clamp(min=1 - self.decay)
        for value, weight in zip(self._values, self._weights, strict=True):
            value.lerp_(weight, share.to(value.dtype))

    @contextmanager
    def used(self, wanted: bool = True) -> Iterator[None]:
        """Give the weights the values of the average for a while, or their own."""
        before = self.is_used
        self.use(wanted)
        try:
            yield
        finally:
            self.use(before)

    @torch.no_grad()
    def use(self, wanted: bool = True) -> None:
        """Give the weights the values of the average, or their own again."""
        if self.is_used == wanted:
            return
        for value, weight in zip(self._values, self._weights, strict=True):
            now = weight.clone()
            weight.copy_(value)
            value.copy_(now)
        self.is_used = wanted

    def tensors(self) -> list[Tensor]:
        """All tensors of the state."""
        return [*self._values, self._steps]

    def state_dict(self) -> dict[str, Any]:
        """Copy of the state while the weights have their own values."""
        return {"values": [each.clone() for each in self._values], "steps": self._steps.item()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state, in place, as graphs hold the tensors."""
        for mine, theirs in zip(self._values, state["values"], strict=True):
            mine.copy_(theirs)
        self._steps.fill_(state["steps"])
