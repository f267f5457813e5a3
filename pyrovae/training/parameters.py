"""Parameters of the model p(x, z), and those of the guide q(z | x)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

import pyro
import torch
from torch import Tensor
from torch.nn import Parameter

from pyrovae.compute.modes import evaluation_mode
from pyrovae.compute.randomness import seeded
from pyrovae.data import Batch
from pyrovae.errors import SpecError
from pyrovae.evaluation.local import LocalPosterior
from pyrovae.programs.autoencoder import Autoencoder
from pyrovae.specs import InferenceSpec


def trained_parameters(
    autoencoder: Autoencoder, few: Batch, spec: InferenceSpec
) -> list[Parameter]:
    """The parameters that training changes.

    Raises:
        SpecError: The model is frozen, and the guide has no parameters of its own.
    """
    trained = [parameter for parameter in autoencoder.parameters() if parameter.requires_grad]
    if spec.frozen == "none":
        return trained
    frozen = {id(parameter) for parameter in model_parameters(autoencoder, few)}
    left = [parameter for parameter in trained if id(parameter) not in frozen]
    if not left:
        raise SpecError(
            "inference.frozen = 'model' leaves nothing to be fitted: all parameters of the guide "
            "are part of the model too, as with model.prior.kind 'vamp'"
        )
    return left


def model_parameters(autoencoder: Autoencoder, few: Batch) -> list[Parameter]:
    """The parameters on which log p(x, z) depends at given latents; of a VampPrior, the guide's.

    Args:
        autoencoder: Model and guide.
        few: A few observations, on the programs' device.
    """
    with _looking_at(autoencoder, few):
        local = LocalPosterior(autoencoder, few)
        z = local.draw_guide(1).detach()
        return _reached(local.log_joint(z).sum(), [*autoencoder.parameters()])


def guide_parameters(autoencoder: Autoencoder, few: Batch) -> list[Parameter]:
    """The parameters on which log q(z | x) depends at given latents.

    Raises:
        SpecError: The guide is a point, or has auxiliary sites, so that it has no such density.
    """
    with _looking_at(autoencoder, few):
        local = LocalPosterior(autoencoder, few)
        if local.point:
            raise SpecError(
                "inference.simulated: the guide is a point, and has no density to be fitted to "
                "draws of the model: choose another inference.guide.kind"
            )
        z = local.draw_guide(1).detach()
        return _reached(local.log_guide(z).sum(), [*autoencoder.parameters()])


def _looking_at(autoencoder: Autoencoder, few: Batch) -> ExitStack:
    stack = ExitStack()
    stack.enter_context(evaluation_mode(autoencoder))
    stack.enter_context(seeded(0, few.device))
    stack.enter_context(pyro.validation_enabled(False))
    stack.enter_context(torch.enable_grad())
    return stack


def _reached(value: Tensor, parameters: Sequence[Parameter]) -> list[Parameter]:
    """The parameters on which a value depends."""
    if not value.requires_grad:
        return []
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    gradients = torch.autograd.grad(value, trained, allow_unused=True)
    return [p for p, gradient in zip(trained, gradients, strict=True) if gradient is not None]
