"""Hidden units that are never active."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor, nn

from pyrovae.compute.modes import evaluating
from pyrovae.data import Batch
from pyrovae.programs.autoencoder import Autoencoder


class HiddenUnits(NamedTuple):
    """Numbers of hidden units with a rectifier.

    Attributes:
        total: All of them.
        dead: Those that are zero for every observation, and get no gradient.
    """

    total: int
    dead: int


def hidden_units(autoencoder: Autoencoder, batch: Batch | Tensor) -> HiddenUnits:
    """Count the units of ``nn.ReLU`` modules, and the dead ones among them.

    A channel of a convolution is one unit.

    Args:
        autoencoder: Model and guide; both are run once.
        batch: The observations, on the autoencoder's device.

    References:
        Lu et al. (2020), *Dying ReLU and Initialization*, arXiv:1903.06733.
    """
    alive: dict[nn.Module, Tensor] = {}

    def see(module: nn.Module, inputs: Any, output: Tensor) -> None:
        now = _alive(output)
        alive[module] = now | alive.get(module, now)

    rectifiers = [module for module in autoencoder.modules() if isinstance(module, nn.ReLU)]
    hooks = [module.register_forward_hook(see) for module in rectifiers]
    try:
        with evaluating(autoencoder, autoencoder.device):
            autoencoder.traces(batch)
    finally:
        for hook in hooks:
            hook.remove()
    total = sum(len(units) for units in alive.values())
    return HiddenUnits(total, total - sum(int(units.sum()) for units in alive.values()))


def _alive(output: Tensor) -> Tensor:
    """True for each unit that is active anywhere: features are last, or before an image's axes."""
    units = output.flatten(-2).amax(-1) if output.ndim == 4 else output
    return (units > 0).reshape(-1, units.shape[-1]).any(0)
