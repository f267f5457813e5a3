"""Semi-amortised inference: the posterior of each observation, better than the encoder's guess."""

from __future__ import annotations

import math
import sys
import time
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from pyrovae.compute import chunks
from pyrovae.compute.modes import EVALUATION_SEED, evaluating
from pyrovae.data import Batch, Dataset
from pyrovae.errors import SpecError
from pyrovae.evaluation.batches import observations
from pyrovae.evaluation.chain_statistics import rhat
from pyrovae.evaluation.chains import sample
from pyrovae.evaluation.encoding import EncodedSite, join_sites
from pyrovae.evaluation.gain import Gain, fit_of, joined
from pyrovae.evaluation.hamiltonian import (
    Densities,
    guide_scale,
    log_posterior,
    require_gradient,
)
from pyrovae.evaluation.importance import require_density, require_finite
from pyrovae.evaluation.local import LocalPosterior
from pyrovae.evaluation.pareto_smoothing import smooth
from pyrovae.evaluation.refinement import RefinedPosterior, batch_size
from pyrovae.evaluation.weighted_draws import described, guide_described
from pyrovae.programs.arguments import split_of
from pyrovae.programs.autoencoder import Autoencoder
from pyrovae.specs.computation import Computation
from pyrovae.specs.local_inference import LocalInference, Resample

# Chains begin at draws of the guide, and steps in units of its scales.
CHAINS, WARMUP = 4, 100


@dataclass(frozen=True, eq=False, repr=False)
class PosteriorSample:
    """Draws from the posterior of each observation, on the CPU.

    Attributes:
        z: Draws ``(draws, data, dims)``, float32, latent sites one after the other; those of a
            chain follow each other.
        log_weight: Logarithms of their weights ``(draws, data)``, which sum to one.
        sites: Means and standard deviations, and probabilities of discrete latents, by site.
        names: Names of the latent dimensions, such as ``z[3]``.
        sample_stats: Statistics of the chains, ``(chain, draw, data)`` each, if there are any.
        gain: Fit of the guide before and after, and the cost.
    """

    z: Tensor
    log_weight: Tensor
    sites: dict[str, EncodedSite]
    names: list[str]
    sample_stats: dict[str, Tensor]
    gain: Gain

    def __repr__(self) -> str:
        draws, data, _ = self.z.shape
        return f"PosteriorSample({draws} draws for each of {data} observations; {self.gain})"

    @property
    def mean(self) -> Tensor:
        """Means ``(data, dims)``; modes of discrete latents. NaN where a mask hides a latent."""
        return means_of(self.sites)

    @property
    def sd(self) -> Tensor:
        """Standard deviations ``(data, dims)``; NaN of angles and of discrete latents."""
        none = torch.tensor(torch.nan)
        known = [
            none.expand_as(site.mean) if site.deviation is None else site.deviation
            for site in self.sites.values()
        ]
        return torch.cat(known, -1)

    def resampled(self) -> Tensor:
        """Draws of equal weight, ``(draws, data, dims)``: chosen by weight, with replacement.

        Those that have equal weights are returned as they are.
        """
        if torch.equal(self.log_weight, self.log_weight[:1].expand_as(self.log_weight)):
            return self.z
        stream = torch.Generator().manual_seed(EVALUATION_SEED)
        weight = self.log_weight.exp().T
        chosen = torch.multinomial(weight, len(self.z), replacement=True, generator=stream).T
        return self.z.gather(0, chosen.unsqueeze(-1).expand_as(self.z))


def local_posterior(
    autoencoder: Autoencoder,
    data: Any,
    *,
    refine_steps: int = 0,
    resample: Resample | None = None,
    draws: int = 1000,
    progress: bool = False,
    computation: Computation | None = None,
) -> PosteriorSample:
    r"""The posterior p(z | x) of each observation, closer than the encoder's guide.

    Refinement fits the guide's parameters to each observation by itself, from the encoder's on;
    the encoder's remain where no better are found. The model does not change.

    .. math::
        \lambda_n = \operatorname{arg\,max}_\lambda
            \mathbb{E}_{q_\lambda} [ \log p(x_n, z) - \log q_\lambda(z) ]

    Draws of that guide are then weighted by p(x, z) / q(z), or are where chains start. Always the
    same random numbers: two calls with the same weights agree.

    Args:
        autoencoder: Model and guide.
        data: A split, as loaded or as the model sees it; splits, of which the test data are taken;
            or an array, a tensor or a DataFrame of values as the model sees them.
        refine_steps: Number of gradient steps, each of 16 draws; 50 are often enough.
        resample: "importance" for Pareto-smoothed importance weights, "mcmc" for four chains of
            Hamiltonian Monte Carlo; None for the guide's own draws.
        draws: Number of draws for each observation, at least 100; those of all chains together.
        progress: Whether to draw a progress bar.
        computation: Options of compilation and precision.

    Raises:
        SpecError: The guide is a point or has no encoder, or latents are discrete or hidden by a
            mask, where that is needed; or an argument is of another kind.
        DataError: The data are of another kind or shape, or have no density.

    References:
        Kim, Wiseman, Miller, Sontag and Rush (2018), *Semi-Amortized Variational Autoencoders*,
        arXiv:1802.02550; Vehtari et al. (2024), *Pareto Smoothed Importance Sampling*,
        arXiv:1507.02646; Hoffman (2017), *Learning Deep Latent Gaussian Models with Markov Chain
        Monte Carlo*, for chains from the encoder's draws.
    """
    asked = LocalInference(refine_steps=refine_steps, resample=resample, draws=draws)
    split = split_of("local_posterior(vae, data)", autoencoder, data)
    title = "posteriors" if progress else ""
    parts = _parts(autoencoder, split, asked, title, computation)
    return PosteriorSample(
        torch.cat([part.z for part in parts], 1),
        torch.cat([part.log_weight for part in parts], 1),
        join_sites([part.sites for part in parts]),
        parts[0].names,
        {
            name: torch.cat([p.sample_stats[name] for p in parts], -1)
            for name in parts[0].sample_stats
        },
        joined([part.gain for part in parts], [part.z.shape[1] for part in parts]),
    )


def improved_sites(
    autoencoder: Autoencoder, data: Any, asked: LocalInference, progress: str = ""
) -> tuple[dict[str, EncodedSite], Gain]:
    """Means and standard deviations of :func:`local_posterior` alone, in bounded memory.

    Args:
        autoencoder: Model and guide.
        data: As for :func:`local_posterior`.
        asked: How the guide is improved.
        progress: Title of a progress bar on stderr; no bar if empty.
    """
    split = split_of("embed(data)", autoencoder, data)
    parts = _parts(autoencoder, split, asked, progress, draws=False)
    counts = [part.log_weight.shape[1] for part in parts]
    gain = joined([part.gain for part in parts], counts)
    return join_sites([part.sites for part in parts]), gain


def means_of(sites: dict[str, EncodedSite]) -> Tensor:
    """Means of all latent sites side by side, ``(data, dims)``."""
    return torch.cat([site.mean for site in sites.values()], -1)


def require_possible(autoencoder: Autoencoder, batch: Batch, asked: LocalInference) -> None:
    """Refuse what cannot work for these programs and data.

    Args:
        autoencoder: Model and guide.
        batch: All the data, on the programs' device.
        asked: How the guide is improved.

    Raises:
        SpecError: The guide is a point or has no encoder, latents are discrete or hidden by a
            mask, or p(x | z) has no gradient.
    """
    with evaluating(autoencoder, batch.device):
        local = LocalPosterior(autoencoder, batch[:1])
        if asked.refine_steps:
            RefinedPosterior(autoencoder, batch[:1])
        if asked.resample == "importance":
            require_density(local)
            described(local, local.draw_guide(1), batch.x.new_zeros(1, 1))
        if asked.resample == "mcmc":
            require_gradient(local)
            hidden = (~LocalPosterior(autoencoder, batch).present).any(-1).sum()
            if hidden:
                raise SpecError(
                    f"resample = 'mcmc': a mask hides latents of {hidden} observations, over "
                    "which no chain can move; use 'importance'"
                )


def _parts(
    autoencoder: Autoencoder,
    split: Dataset,
    asked: LocalInference,
    progress: str,
    computation: Computation | None = None,
    *,
    draws: bool = True,
) -> list[PosteriorSample]:
    """The posteriors batch by batch, with their draws or without."""
    device = autoencoder.device
    batch = observations(split, torch.arange(len(split))).to(device)
    require_possible(autoencoder, batch, asked)
    densities = Densities(log_posterior, autoencoder, computation)
    # A transition of many chains takes hardly longer than one of few.
    chains = asked.resample == "mcmc" or not asked.refine_steps
    size = max(1, chunks.codes(device) // CHAINS) if chains else batch_size(device)
    found: list[PosteriorSample] = []
    bar = tqdm(total=len(batch), unit="obs", desc=progress, disable=not progress, file=sys.stderr)
    with evaluating(autoencoder, device), bar:
        for part in batch.split(size):
            made = _infer(autoencoder, part, asked, densities, bar.n)
            found.append(made if draws else replace(made, z=made.z[:0], sample_stats={}))
            bar.update(len(part))
    return found


def _infer(
    autoencoder: Autoencoder, batch: Batch, asked: LocalInference, densities: Densities, start: int
) -> PosteriorSample:
    """The posteriors of a few data, of which the first has the number ``start``."""
    began = time.perf_counter()
    local = LocalPosterior(autoencoder, batch)
    log_weight, encoder, refined = None, None, None
    if local.point:
        z = local.draw_guide(asked.draws)
    else:
        z, log_weight = _drawn(local, asked.draws, start)
        encoder = fit_of(log_weight)
    if asked.refine_steps:
        local = RefinedPosterior(autoencoder, batch)
        local.refine(asked.refine_steps)
        z, log_weight = _drawn(local, asked.draws, start)
        refined = fit_of(log_weight)
    stats, worst = dict[str, Tensor](), None
    if asked.resample == "mcmc":
        first, scale = local.draw_guide(CHAINS), guide_scale(local)
        each = asked.draws // CHAINS
        chains = sample(local, densities.of(local), first, scale, WARMUP, each)
        require_finite(chains.sample_stats["lp"].flatten(0, 1), start)
        z, stats = chains.z.flatten(0, 1), chains.sample_stats
        worst = torch.from_numpy(rhat(chains.z.numpy()).max(-1))
    weight = torch.full(z.shape[:2], -math.log(len(z)), dtype=torch.float64)
    if asked.resample == "importance" and log_weight is not None:
        weight = smooth(log_weight).log_weight.cpu()
    known = None if asked.resample else guide_described(local)
    sites = described(local, z, weight.to(z.device)) if known is None else known
    seconds = (time.perf_counter() - began) / len(batch)
    gain = Gain(asked, encoder, refined, worst, seconds)
    return PosteriorSample(z.float().cpu(), weight, sites, local.names, stats, gain)


def _drawn(local: LocalPosterior, draws: int, start: int) -> tuple[Tensor, Tensor]:
    """Latents from the guide ``(draws, data, dims)`` and their log-weights ``(draws, data)``."""
    sizes = chunks.draws(len(local), draws, local.batch.device)
    drawn = [local.draw(size) for size in sizes]
    log_weight = torch.cat([part.log_weight for part in drawn])
    require_finite(log_weight, start)
    return torch.cat([part.z for part in drawn]), log_weight
