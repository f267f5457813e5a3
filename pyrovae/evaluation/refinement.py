"""Refinement of a guide: the best member of its family for each observation."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from pyrovae.compute import chunks
from pyrovae.errors import SpecError
from pyrovae.evaluation.local import LocalPosterior
from pyrovae.parts.families import Head
from pyrovae.parts.guides import Guide
from pyrovae.parts.networks import Encoder
from pyrovae.programs.autoencoder import Autoencoder
from pyrovae.programs.vae import VAE

# On digits within 0.01 nats of five times as many steps with four times as many draws. The noise
# of the gradients costs about 0.001 nats per latent dimension.
STEPS, DRAWS, RATE = 400, 16, 0.05


class Free(Encoder):
    """Free parameters for each observation, in place of a network.

    Args:
        value: Initial values, ``(data, outputs)``.
    """

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.features = value.shape[-1]
        self.value = nn.Parameter(value.clone())

    def forward(self, x: Tensor) -> Tensor:
        """The free parameters, whatever the input."""
        return self.value


def freed(guide: Guide, x: Tensor) -> Guide:
    """Copy of the guide with free parameters for each observation of ``x``, ``(data, *shape)``.

    Initially it agrees with the guide at ``x``. Free are the encoder's features, the context of a
    flow, and the outputs of each head of the family. Features alone would reach all outputs only
    where there are as many features as outputs, and no faster.
    """
    features = guide.encoder(x)
    family = copy.deepcopy(guide.family).requires_grad_(False)
    for name, head in guide.family.named_children():
        if isinstance(head, Head):
            setattr(family, name, Free(head(features)))
    return Guide(Free(features), family)


def encoded_guide(autoencoder: Autoencoder) -> Guide:
    """The guide of the autoencoder, if its encoder can be replaced by free parameters.

    Raises:
        SpecError: The guide is a program, or is not an encoder with a family.
    """
    guide = autoencoder.posterior if isinstance(autoencoder, VAE) else None
    if isinstance(guide, Guide):
        return guide
    raise SpecError(
        "the guide is a program without an encoder that could be set free for each observation, "
        "so the best member of its family cannot be sought: give it a guide made of parts, or "
        "judge it by the gap as a whole, log p(x) - ELBO"
    )


def fit(free: Guide, local: LocalPosterior, steps: int) -> None:
    """Maximise the ELBO of each observation by Adam, with decaying steps.

    Args:
        free: Guide from :func:`freed`; changed in place.
        local: The model's p(x, z) of the same data.
        steps: Number of steps.
    """
    parameters = [value for value in free.parameters() if value.requires_grad]
    optimiser = torch.optim.Adam(parameters, lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        with torch.enable_grad():
            loss = -_log_weight(free, local, DRAWS).mean(0).sum()
        # Of nothing else, or the model's own parameters would be left with gradients; features
        # on which only linear maps stood have none.
        moves = torch.autograd.grad(loss, parameters, allow_unused=True)
        for value, move in zip(parameters, moves, strict=True):
            value.grad = move
        optimiser.step()
        schedule.step()


def mean_elbo(guide: Guide, local: LocalPosterior, draws: int) -> Tensor:
    """ELBO of each observation under any guide, ``(data,)`` in nats, a mean over draws."""
    sizes = chunks.draws(len(local), draws, local.x.device)
    return torch.cat([_log_weight(guide, local, size) for size in sizes]).mean(0)


def _log_weight(guide: Guide, local: LocalPosterior, draws: int) -> Tensor:
    """Log p(x, z) - log q(z | x) at draws from a guide, ``(draws, data)``."""
    q: Any = guide(local.x)
    z = q.rsample((draws,))
    return local.log_joint(z) - q.log_prob(z).double()
