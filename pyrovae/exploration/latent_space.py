"""The latent space of an autoencoder: encoding, decoding, the prior's quantiles, moves."""

from __future__ import annotations

import torch
from torch import Tensor

from pyrovae.compute import chunks
from pyrovae.compute.modes import evaluating
from pyrovae.data import Batch
from pyrovae.errors import SpecError
from pyrovae.evaluation.coordinates import Real, SideBySide, Spherical
from pyrovae.evaluation.local import LocalPosterior
from pyrovae.objectives.requirements import pairs
from pyrovae.parts.distributions.kl import factorised
from pyrovae.programs.autoencoder import Autoencoder, means
from pyrovae.programs.observed_values import require_x

# Of which quantiles are made where the prior has no inverse distribution function.
DRAWS = 20_000


class LatentSpace:
    """Latents ``(codes, dims)`` of an autoencoder, with all latent sites concatenated.

    Everything is on the CPU, and always with the same random numbers.

    Args:
        autoencoder: Model and guide.
        like: Any observations, ``(data, *shape)``, on the autoencoder's device.

    Attributes:
        names: Name of each latent dimension, such as ``z[3]``.
        dims: Number of latent dimensions.
    """

    def __init__(self, autoencoder: Autoencoder, like: Batch | Tensor) -> None:
        self.autoencoder = autoencoder
        self._one = Batch.of(like)[:1]
        with evaluating(autoencoder, like.device):
            self._local = LocalPosterior(autoencoder, self._one)
        self.names = self._local.names
        self.dims = self._local.dims

    @property
    def spherical(self) -> bool:
        """True if latents are on the unit sphere, False if they are any real vectors.

        Raises:
            SpecError: They are neither, so that no line or arc can be drawn between them.
        """
        free = self._local.coordinates
        parts = free.parts if isinstance(free, SideBySide) else [free]
        if isinstance(free, Spherical):
            return True
        if all(isinstance(part, Real) for part in parts):
            return False
        raise SpecError(
            f"codes {', '.join(self.names)} are not all real numbers, nor on the sphere, and "
            "cannot be moved along a line: look at samples instead"
        )

    def encode(self, batch: Batch | Tensor) -> Tensor:
        """Means of q(z | x) for data ``(data, *shape)``; draws where no mean is known."""
        device = self._one.device
        with evaluating(self.autoencoder, device):
            parts = [
                means(self.autoencoder, part, list(self._local.shapes))
                for part in batch.split(chunks.codes(device))
            ]
        return torch.cat(parts).cpu()

    def draw_prior(self, count: int) -> Tensor:
        """Latents from p(z)."""
        device = self._one.device
        with evaluating(self.autoencoder, device):
            sizes = chunks.draws(1, count, device)
            return torch.cat([self._local.draw_prior(size)[:, 0] for size in sizes]).cpu()

    def decode(self, z: Tensor) -> Tensor:
        """Means of p(x | z), ``(codes, *shape)``.

        Raises:
            SpecError: No site observes ``x``, or one has no mean.
        """
        device = self._one.device
        with evaluating(self.autoencoder, device):
            parts = [
                require_x(self._local.means(part.to(self._one.x).unsqueeze(1)))[:, 0]
                for part in z.split(chunks.codes(device))
            ]
        return torch.cat(parts).cpu()

    def quantiles(self, probabilities: Tensor) -> Tensor:
        """Quantiles of each latent dimension under p(z), ``(probabilities, dims)``.

        Exact where the prior factorises and has an inverse distribution function, else those of
        20 000 draws.
        """
        exact = self._inverse_distribution(probabilities)
        if exact is not None:
            return exact
        drawn = self.draw_prior(DRAWS).double()
        return drawn.quantile(probabilities.double(), dim=0).to(self._one.x.dtype)

    def move(self, z: Tensor, dim: int, values: Tensor) -> Tensor:
        """Latents ``(values, dims)``: ``z``, ``(dims,)``, with one dimension replaced.

        On the sphere the others are scaled so that the latent stays on it.
        """
        moved = z.repeat(len(values), 1)
        if self.spherical:
            others = moved.clone()
            others[:, dim] = 0.0
            length = others.norm(dim=-1, keepdim=True).clamp(min=1e-12)
            room = (1 - values.square()).clamp(min=0).sqrt()
            moved = others / length * room.unsqueeze(-1)
        moved[:, dim] = values
        return moved

    def _inverse_distribution(self, probabilities: Tensor) -> Tensor | None:
        with evaluating(self.autoencoder, self._one.device):
            found = list(pairs(self.autoencoder, self._one).values())
        if len(found) > 1 or not found[0].closes or not factorised(found[0].p):
            return None
        try:
            return (
                found[0].p.base_dist.icdf(probabilities.to(self._one.x)[:, None, None])[:, 0].cpu()
            )
        except NotImplementedError:
            return None
