"""Refinement of a guide: the best member of its family for each observation."""

from __future__ import annotations

import copy
from typing import Any, cast

import torch
from torch import Tensor, nn

from pyrovae.compute import chunks
from pyrovae.data import Batch
from pyrovae.data.batch import X_KNOWN
from pyrovae.errors import SpecError
from pyrovae.evaluation.importance import require_density
from pyrovae.evaluation.local import Draws, LocalPosterior
from pyrovae.parts.families import Head
from pyrovae.parts.guides import Guide
from pyrovae.parts.networks import Encoder
from pyrovae.programs.autoencoder import Autoencoder
from pyrovae.programs.vae import VAE

# On digits within 0.01 nats of five times as many steps with four times as many draws. The noise
# of the gradients costs about 0.001 nats per latent dimension.
STEPS, DRAWS, RATE = 400, 16, 0.05
# Draws to choose between the encoder's and the refined member.
TO_CHOOSE = 250


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


class RefinedPosterior(LocalPosterior):
    """Posteriors of the observations in a batch, each with a guide of its own parameters.

    The guide begins as the encoder's (:func:`freed`). The model stays as it is, a VampPrior with
    the guide that it was fitted with.

    Args:
        autoencoder: Model and guide, made of parts.
        batch: The data, on the programs' device.

    Attributes:
        free: The guide.

    Raises:
        SpecError: The guide is a point, or has no encoder that could be set free.
    """

    def __init__(self, autoencoder: Autoencoder, batch: Batch | Tensor) -> None:
        guide = encoded_guide(autoencoder)
        super().__init__(autoencoder, batch)
        require_density(self)
        vae = cast(VAE, autoencoder)
        known = self.batch.variables.get(X_KNOWN)
        self.free = freed(guide, vae.encoder_input(self.x, known))
        self._parameters = [value for value in self.free.parameters() if value.requires_grad]

    def draw(self, draws: int) -> Draws:
        """Draw latents from the refined guide, with all their log-densities."""
        q: Any = self.free(self.x)
        z = q.rsample((draws,))
        return Draws(z, q.log_prob(z).double(), *self.log_model(z))

    def draw_guide(self, draws: int) -> Tensor:
        """Draw latents from the refined guide alone."""
        q: Any = self.free(self.x)
        return q.sample((draws,))

    def log_guide(self, z: Tensor) -> Tensor:
        """Log q(z | x) of any latents under the refined guide; differentiable."""
        q: Any = self.free(self.x)
        return q.log_prob(z).double()

    def refine(self, steps: int) -> Tensor:
        """Fit the guide, and keep the encoder's where the fit found no better one.

        Separate draws decide, so that the choice is not biased by those of the fit.

        Returns:
            True for the observations whose guide is still the encoder's, ``(data,)``.
        """
        start = [value.detach().clone() for value in self._parameters]
        before = self.mean_elbo(TO_CHOOSE)
        self.fit(steps)
        kept = ~(self.mean_elbo(TO_CHOOSE) > before)  # also where the ELBO is NaN
        with torch.no_grad():
            for value, first in zip(self._parameters, start, strict=True):
                value[kept] = first[kept]
        return kept

    def fit(self, steps: int) -> None:
        """Maximise the ELBO of each observation by Adam, with decaying steps."""
        optimiser = torch.optim.Adam(self._parameters, lr=RATE)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        for _ in range(steps):
            with torch.enable_grad():
                loss = -self.draw(DRAWS).log_weight.mean(0).sum()
            # Of nothing else, or the model's own parameters would be left with gradients;
            # features on which only linear maps stood have none.
            moves = torch.autograd.grad(loss, self._parameters, allow_unused=True)
            for value, move in zip(self._parameters, moves, strict=True):
                value.grad = move
            optimiser.step()
            schedule.step()

    def mean_elbo(self, draws: int) -> Tensor:
        """ELBO of each observation, ``(data,)`` in nats, a mean over draws of log w.

        Log w hardly varies where the guide is good; not so log p(x | z) alone.
        """
        sizes = chunks.draws(len(self), draws, self.x.device)
        return torch.cat([self.draw(size).log_weight for size in sizes]).mean(0)


def batch_size(device: torch.device) -> int:
    """Number of observations whose guides are fitted at once.

    Parameters belong to single observations: a part of the data is fitted like all at once.
    """
    return max(1, chunks.codes(device) // DRAWS)
