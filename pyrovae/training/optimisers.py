"""Adam and its relatives from their specifications, and torch's optimisers as they are."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, assert_never

import torch
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.adamax import adamax
from torch.optim.adamw import adamw

from pyrovae.errors import SpecError, nearest, reason
from pyrovae.specs.inference import (
    AdamaxSpec,
    AdamSpec,
    AdamWSpec,
    OptimiserSpec,
    OwnOptimiserSpec,
)
from pyrovae.specs.own import own_class

Groups = dict[float, list[int]]
"""Places of parameters by a factor of their learning rate."""

MakeOptimiser = Callable[[Sequence[Tensor]], torch.optim.Optimizer]


def build_optimiser(
    spec: OptimiserSpec, named: Mapping[str, Tensor]
) -> Optimiser | TorchOptimiser:
    """Build the optimiser that a specification declares, or the class that it names.

    Args:
        spec: The specification.
        named: Parameters to optimise, in place, by name.

    Raises:
        SpecError: There is no such class, or it is no optimiser, or refuses its arguments; or
            ``learning_rates`` name something that no parameter is part of.
    """
    groups, parameters = grouped(spec, named), [*named.values()]
    if not isinstance(spec, OwnOptimiserSpec):
        return Optimiser(spec, parameters, groups)
    make: Any = own_class(spec, "inference.optimiser", torch.optim.Optimizer)
    rate = spec.learning_rate
    parts = [
        {"params": [parameters[i] for i in places], "lr": rate * factor}
        for factor, places in groups.items()
    ]
    try:
        return TorchOptimiser(lambda _: make(parts, lr=rate, **spec.arguments), parameters, rate)
    except SpecError as error:
        raise SpecError(f"inference.optimiser.kind = '{spec.kind}': {error}") from None


def grouped(spec: OptimiserSpec, names: Collection[str]) -> Groups:
    """Places of parameters by their learning rate, as a multiple of ``learning_rate``.

    Of the keys of ``learning_rates`` with which a name begins the longest counts.

    Raises:
        SpecError: No name begins with a key.

    Example:
        >>> spec = AdamSpec(learning_rate=1e-3, learning_rates={"decoder": 1e-4})
        >>> grouped(spec, ["encoder.weight", "decoder.weight", "decoder.bias"])
        {1.0: [0], 0.1: [1, 2]}
    """
    rates = spec.learning_rates or {}
    groups: Groups = {}
    met = set()
    for place, name in enumerate(names):
        parts = name.split(".")
        starts = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
        key = next((start for start in starts if start in rates), None)
        met.add(key)
        factor = 1.0 if key is None else rates[key] / spec.learning_rate
        groups.setdefault(factor, []).append(place)
    for key in rates:
        if key not in met:
            tops = dict.fromkeys(name.partition(".")[0] for name in names)
            raise SpecError(
                f"inference.optimiser.learning_rates.{key}: no parameter that is fitted takes it; "
                f"{nearest(key, tops)}"
            )
    return groups


class Optimiser:
    r"""Adam and its relatives, fused over all parameters by torch's functional forms.

    ``torch.optim.Adam`` does the same with bookkeeping for groups, hooks and lazy state, which
    at the size of a VAE costs as much as the arithmetic; and it keeps the gradients.

    Args:
        spec: Optimiser and its constants.
        parameters: Parameters to optimise, in place.
        groups: Those that have a learning rate of their own; by default all have the same.

    Attributes:
        first: First moments, one for each parameter.
        second: Second moments; running maxima for Adamax.
        recordable: True if an update may be part of a CUDA graph.

    References:
        Kingma and Ba (2015), *Adam*, arXiv:1412.6980; Loshchilov and Hutter (2019), *Decoupled
        Weight Decay Regularization*, arXiv:1711.05101.
    """

    recordable = True

    def __init__(
        self,
        spec: AdamSpec | AdamWSpec | AdamaxSpec,
        parameters: Sequence[Tensor],
        groups: Groups | None = None,
    ) -> None:
        self.spec = spec
        self.parameters = [parameter.detach() for parameter in parameters]
        self.first = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.second = [torch.zeros_like(parameter) for parameter in self.parameters]
        device = self.parameters[0].device
        self._counts = [torch.zeros((), device=device) for _ in self.parameters]
        # On a GPU nothing is read back, so that the update may be part of a CUDA graph.
        self._capturable = self._counts[0].is_cuda
        self._groups = groups or {1.0: [*range(len(self.parameters))]}

    @torch.no_grad()
    def update(self, gradients: Sequence[Tensor], rate: float | Tensor) -> None:
        """Take one step.

        Args:
            gradients: Gradient of each parameter.
            rate: Learning rate; on a GPU, a tensor on the same device.
        """
        for factor, places in self._groups.items():
            lists = (self.parameters, gradients, self.first, self.second, self._counts)
            self._update(*([each[i] for i in places] for each in lists), rate=rate * factor)

    def _update(self, *lists: list[Tensor], rate: float | Tensor) -> None:
        """Step of some parameters: these, their gradients, moments and counts of steps."""
        parameters, gradients, first, second, counts = lists
        moments = parameters, gradients, first, second
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
                adam(*moments, [], counts, fused=True, amsgrad=False, **constants)
            case AdamWSpec():
                adamw(*moments, [], counts, fused=True, amsgrad=False, **constants)
            case AdamaxSpec():
                adamax(*moments, counts, foreach=True, **constants)
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


class TorchOptimiser:
    """Any of ``torch.optim``'s optimisers.

    Args:
        make: Makes the optimiser of the parameters that it is given.
        parameters: Parameters to optimise, in place.
        rate: Learning rate of the specification, in whose units :meth:`update` is told the rate.

    Attributes:
        recordable: True if an update may be part of a CUDA graph.

    Raises:
        SpecError: ``make`` makes no optimiser, or one that has to evaluate the loss itself.

    Example:
        >>> weight = torch.nn.Parameter(torch.ones(2))
        >>> optimiser = TorchOptimiser(lambda p: torch.optim.SGD(p, lr=0.5), [weight], rate=1.0)
        >>> optimiser.update([torch.ones(2)], 0.1)  # a tenth of its own rate
        >>> weight.detach()
        tensor([0.9500, 0.9500])
    """

    recordable = False

    def __init__(self, make: MakeOptimiser, parameters: Sequence[Tensor], rate: float) -> None:
        try:
            self.optimiser = make(parameters)
        except Exception as error:  # a user's function
            raise SpecError(f"optimiser: {reason(error)}") from error
        if not isinstance(self.optimiser, torch.optim.Optimizer):
            raise SpecError(
                f"optimiser gave {self.optimiser!r}: give a function of the parameters that makes "
                "one of torch.optim's, such as lambda p: torch.optim.SGD(p, lr=0.01)"
            )
        if isinstance(self.optimiser, torch.optim.LBFGS):
            raise SpecError(
                "optimiser: LBFGS evaluates the loss several times in a step, which a loss that "
                "is drawn does not permit: choose SGD, Adam or another first-order method"
            )
        self.parameters = parameters
        self.rate = rate
        self.own = [group["lr"] for group in self.optimiser.param_groups]

    def update(self, gradients: Sequence[Tensor], rate: float | Tensor) -> None:
        """Take one step, at its own learning rates times ``rate`` over the specification's."""
        for group, own in zip(self.optimiser.param_groups, self.own, strict=True):
            group["lr"] = own * float(rate) / self.rate
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        self.optimiser.step()
        self.optimiser.zero_grad()

    def tensors(self) -> list[Tensor]:
        """All tensors of the state so far."""
        states = self.optimiser.state.values()
        return [value for s in states for value in s.values() if isinstance(value, Tensor)]

    def state_dict(self) -> dict[str, Any]:
        """Copy of the state, for :meth:`load_state_dict`."""
        return copy.deepcopy(self.optimiser.state_dict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state."""
        self.optimiser.load_state_dict(copy.deepcopy(state))
