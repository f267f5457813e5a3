"""The distance of the aggregated posterior from the prior, by kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pyrovae.autoencoder import Site, Traces, latent_sites
from pyrovae.compatibility import REPARAMETERISED, Need
from pyrovae.kl import site_kl
from pyrovae.objectives.abstract import Objective
from pyrovae.objectives.scaling import beta_of, codes, data_scale, particle_mean, reconstruction

# Tolstikhin et al. mix kernels of these widths, relative to that of the prior.
WIDTHS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


class MMDObjective(Objective):
    r"""Reconstruction, with the codes of all data together held to the prior.

    .. math::
        \mathbb{E} \log p(x \mid z) - \beta \operatorname{KL}(q(z \mid x), p(z))
        - \lambda \operatorname{MMD}^2(q(z), p(z))

    With β = 0 this is the Wasserstein autoencoder (with a ``delta`` guide) and the MMD-VAE;
    with β = 1 - α and :math:`\lambda = \alpha + \lambda' - 1` the InfoVAE family. No bound on
    log p(x).

    Args:
        num_particles: Draws of the code.
        weight: :math:`\lambda`, in nats per datum.
        options: Of Pyro's ``ELBO``.

    References:
        Zhao, Song and Ermon (2019), *InfoVAE*, arXiv:1706.02262; Tolstikhin et al. (2018),
        *Wasserstein Auto-Encoders*, arXiv:1711.01558, for the kernel.
    """

    needs: tuple[Need, ...] = (REPARAMETERISED,)

    def __init__(self, num_particles: int = 1, weight: float = 100.0, **options: Any) -> None:
        super().__init__(num_particles, **options)
        self.weight = weight
        self.title = f"ELBO and {weight:g} times the MMD of q(z) from p(z)"

    def _loss(self, traces: Sequence[Traces]) -> Tensor:
        names = latent_sites(traces[0].model)
        reconstructed = reconstruction(traces)
        beta = beta_of(traces[0])
        penalty = torch.zeros_like(reconstructed)
        for name in names:
            sites = [(trace.guide.nodes[name], trace.model.nodes[name]) for trace in traces]
            kl = particle_mean(site_kl(q, p) for q, p in sites)
            distances = torch.stack([site_mmd(q, p) for q, p in sites])
            penalty = penalty + beta * kl + self.weight * distances.mean()
        return (penalty - reconstructed).sum() * data_scale(traces[0])


def site_mmd(q: Site, p: Site) -> Tensor:
    """:func:`mmd` of the batch's codes from as many of the prior, averaged over particles."""
    prior = p["fn"].rsample() if p["fn"].has_rsample else p["fn"].sample()
    return mmd(codes(q), codes({**p, "value": prior})).mean()


def mmd(first: Tensor, second: Tensor) -> Tensor:
    r"""Unbiased estimate of the squared maximum mean discrepancy of two samples.

    .. math::
        \operatorname{mean}_{i \ne j} k(a_i, a_j) + \operatorname{mean}_{i \ne j} k(b_i, b_j)
        - 2 \operatorname{mean}_{i, j} k(a_i, b_j), \qquad
        k(a, b) = \sum_s \frac{2 d s}{2 d s + \lVert a - b \rVert^2}

    The inverse multiquadric kernel has heavy tails: codes far from the prior are still drawn
    to it. Its widths suit a prior whose dimensions have a scale of about one.

    Args:
        first: Draws ``(*batch, n, dims)``.
        second: As many others.

    Returns:
        One number for each of ``*batch``, possibly negative; zero where n = 1 leaves no pair.
    """
    count = first.shape[-2]
    if count < 2:
        return (first - first).sum((-2, -1))
    off_diagonal = count * (count - 1)
    within = sum(
        (_kernel(draws, draws).sum((-2, -1)) - count * len(WIDTHS)) / off_diagonal
        for draws in (first, second)
    )
    return within - 2 * _kernel(first, second).mean((-2, -1))


def _kernel(first: Tensor, second: Tensor) -> Tensor:
    """Kernel of each pair, ``(*batch, n, m)``; a code with itself has ``len(WIDTHS)``."""
    squared = (first.unsqueeze(-2) - second.unsqueeze(-3)).square().sum(-1)
    scales = [2 * first.shape[-1] * width for width in WIDTHS]
    return torch.stack([scale / (scale + squared) for scale in scales]).sum(0)
