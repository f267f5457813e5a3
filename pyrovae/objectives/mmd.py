"""Maximum mean discrepancy (MMD) between the aggregated posterior and the prior."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pyrovae.errors import SpecError
from pyrovae.objectives.abstract import Objective
from pyrovae.objectives.requirements import REPARAMETERISED, Requirement
from pyrovae.programs.densities import Densities
from pyrovae.programs.log_density import present
from pyrovae.programs.plates import Plates
from pyrovae.programs.traces import Site, Traces

# Tolstikhin et al. mix kernels of these widths, relative to that of the prior.
WIDTHS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


class MMDObjective(Objective):
    r"""Reconstruction, with a penalty on the MMD between aggregated posterior and prior.

    .. math::
        \mathbb{E} \log p(x \mid z) - \beta \operatorname{KL}(q(z \mid x), p(z))
        - \lambda \operatorname{MMD}^2(q(z), p(z))

    With β = 0 this is the Wasserstein autoencoder (with a ``delta`` guide) and the MMD-VAE; with β
    = 1 - α and :math:`\lambda = \alpha + \lambda' - 1` the InfoVAE family. It is not a bound on
    log p(x).

    Args:
        num_particles: Draws of the latent.
        weight: :math:`\lambda`, in nats per observation.
        options: Options of Pyro's ``ELBO``.

    References:
        Zhao, Song and Ermon (2019), *InfoVAE*, arXiv:1706.02262; Tolstikhin et al. (2018),
        *Wasserstein Auto-Encoders*, arXiv:1711.01558, for the kernel.
    """

    needs: tuple[Requirement, ...] = (REPARAMETERISED,)

    def __init__(self, num_particles: int = 1, weight: float = 100.0, **options: Any) -> None:
        super().__init__(num_particles, **options)
        self.weight = weight
        self.title = f"ELBO and {weight:g} times the MMD of q(z) from p(z)"

    def _loss(self, found: Densities, beta: float | Tensor, weights: Tensor | None) -> Tensor:
        plates = found.reduced.plates
        if plates.data is None:
            raise SpecError("maximum mean discrepancy: all sites have to be in the data's plate")
        loss = beta * found.kl.mean() - found.reconstruction.mean()
        for traces in found.traces:
            for name in traces.latent:
                distance = site_mmd(traces, name, plates)
                loss = loss + self.weight * distance / len(found.traces)
        return loss


def site_mmd(traces: Traces, name: str, plates: Plates) -> Tensor:
    """:func:`mmd` of a batch's latents from as many of the prior, averaged over particles.

    Masked observations are in neither sample.
    """
    q: Site = traces.guide.nodes[name]
    p: Site = traces.model.nodes[name]
    prior = p["fn"].rsample() if p["fn"].has_rsample else p["fn"].sample()
    shown = present(q["mask"], plates)
    return mmd(plates.vectors(q), plates.vectors({**p, "value": prior}), shown).mean()


def mmd(first: Tensor, second: Tensor, shown: Tensor | None = None) -> Tensor:
    r"""Unbiased estimate of the squared maximum mean discrepancy of two samples.

    .. math::
        \operatorname{mean}_{i \ne j} k(a_i, a_j) + \operatorname{mean}_{i \ne j} k(b_i, b_j)
        - 2 \operatorname{mean}_{i, j} k(a_i, b_j), \qquad
        k(a, b) = \sum_s \frac{2 d s}{2 d s + \lVert a - b \rVert^2}

    The inverse multiquadric kernel has heavy tails: latents far from the prior are still drawn to
    it. Its widths suit a prior whose dimensions have a scale of about one.

    Args:
        first: Draws ``(*batch, n, dims)``.
        second: Draws of the other distribution, of the same shape.
        shown: Mask of the draws that count, ``(*batch, n)``; by default all.

    Returns:
        One number for each of ``*batch``, possibly negative; zero where n = 1 leaves no pair. With
        a mask it is multiplied by the share of unmasked draws.
    """
    count = first.shape[-2]
    weights = first.new_ones(count) if shown is None else shown.to(first.dtype)
    number = weights.sum(-1)
    pairs = weights.unsqueeze(-1) * weights.unsqueeze(-2)
    apart = pairs * (1 - torch.eye(count, dtype=first.dtype, device=first.device))
    within = sum((_kernel(draws, draws) * apart).sum((-2, -1)) for draws in (first, second))
    between = (_kernel(first, second) * pairs).sum((-2, -1))
    several = number * (number - 1)
    distance = within / several.clamp(min=1) - 2 * between / number.clamp(min=1).square()
    return torch.where(several > 0, distance * number / count, (first - first).sum((-2, -1)))


def _kernel(first: Tensor, second: Tensor) -> Tensor:
    """Kernel of each pair, ``(*batch, n, m)``; ``len(WIDTHS)`` on the diagonal."""
    squared = (first.unsqueeze(-2) - second.unsqueeze(-3)).square().sum(-1)
    scales = [2 * first.shape[-1] * width for width in WIDTHS]
    return torch.stack([scale / (scale + squared) for scale in scales]).sum(0)
