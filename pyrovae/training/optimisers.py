"""torch's optimisers, from their specifications."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, assert_never

import torch
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.adamax import adamax
from torch.optim.adamw import adamw

from pyrovae.specs.inference import AdamaxSpec, AdamSpec, AdamWSpec, OptimiserSpec


class Optimiser:
    r"""Adam and its relatives, fused over all parameters by torch's functional forms.

    ``torch.optim.Adam`` does the same with bookkeeping for groups, hooks and lazy state, which
    at the size of a VAE costs as much as the arithmetic; and it keeps the gradients.

    Args:
        spec: Optimiser and its constants.
        parameters: Parameters to optimise, in place.

    Attributes:
        first: First moments, one for each parameter.
        second: Second moments; running maxima for Adamax.

    References:
        Kingma and Ba (2015), *Adam*, arXiv:1412.6980; Loshchilov and Hutter (2019), *Decoupled
        Weight Decay Regularization*, arXiv:1711.05101.
    """

    def __init__(self, spec: OptimiserSpec, parameters: Sequence[Tensor]) -> None:
        self.spec = spec
        self.parameters = [parameter.detach() for parameter in parameters]
        self.first = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.second = [torch.zeros_like(parameter) for parameter in self.parameters]
        device = self.parameters[0].device
        self._counts = [torch.zeros((), device=device) for _ in self.parameters]
        # On a GPU nothing is read back, so that the update may be part of a CUDA graph.
        self._capturable = self._counts[0].is_cuda

    @torch.no_grad()
    def update(self, gradients: Sequence[Tensor], rate: float | Tensor) -> None:
        """Take one step.

        Args:
            gradients: Gradient of each parameter.
            rate: Learning rate; on a GPU, a tensor on the same device.
        """
        moments = (self.parameters, list(gradients), self.first, self.second)
        spec = self.spec
        constants: dict[str, Any] = {
            "beta1": spec.betas[0],
            "beta2": spec.betas[1],
            "eps": spec.eps,
            "weight_decay": spec.weight_decay,
            "lr": rate,
            "maximize": False,
            "capturable": self._capturable,
        }
        match spec:
            case AdamSpec():
                adam(*moments, [], self._counts, fused=True, amsgrad=False, **constants)
            case AdamWSpec():
                adamw(*moments, [], self._counts, fused=True, amsgrad=False, **constants)
            case AdamaxSpec():
                adamax(*moments, self._counts, foreach=True, **constants)
            case _:
                assert_never(spec)

    def tensors(self) -> list[Tensor]:
        """All tensors of the state."""
        return [*self.first, *self.second, *self._counts]

    def state_dict(self) -> dict[str, Any]:
        """Copy of the state, for :meth:`load_state_dict`."""
        return {
            "first": [moment.clone() for moment in self.first],
            "second": [moment.clone() for moment in self.second],
            "step": self._counts[0].item(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state, in place, as graphs hold the tensors."""
        for name in ("first", "second"):
            for mine, theirs in zip(getattr(self, name), state[name], strict=True):
                mine.copy_(theirs)
        for count in self._counts:
            count.fill_(state["step"])
