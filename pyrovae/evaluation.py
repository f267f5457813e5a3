"""What a fitted autoencoder is worth on data. Nothing here changes it, or the random stream."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from pyro import poutine
from pyro.poutine.trace_struct import Trace
from torch import Tensor

from pyrovae.compute.modes import EVALUATION_SEED
from pyrovae.compute.modes import evaluating as evaluating
from pyrovae.compute.randomness import seeded
from pyrovae.data import Dataset
from pyrovae.objectives import Objective, build_objective
from pyrovae.programs.autoencoder import Autoencoder, mean_or_draw
from pyrovae.programs.traces import Site, observed_sites, sites_by_role
from pyrovae.specs.objectives import ELBOSpec
from pyrovae.tally import Layout, Summary, sums

BATCH = 500
# Burda et al. (2016), arXiv:1509.00519, section 5: a unit is active if its mean varies with x.
ACTIVE_VARIANCE = 0.01


def batches(data: Dataset, device: torch.device, size: int = BATCH) -> Iterator[Tensor]:
    """All the data in order, as the model sees them, batch by batch on a device."""
    for index in torch.arange(len(data), device=data.rows.device).split(size):
        yield data.batch(index).to(device)


def observations(data: Dataset, index: Tensor) -> Tensor:
    """Observations ``(len(index), *shape)``, always with the same random numbers if with any."""
    with seeded(EVALUATION_SEED, data.x.device):
        return data.batch(index)


def evaluate(
    autoencoder: Autoencoder,
    data: Dataset,
    objective: Objective | None = None,
    *,
    beta: float = 1.0,
) -> Summary:
    """The bound on a split, its parts, and the loss at some β, in nats per datum.

    Always the same random numbers: two evaluations of the same weights agree.

    Args:
        autoencoder: Model and guide.
        data: The split, as the model sees it (``autoencoder.contract.apply(splits)``).
        objective: What is optimised; by default the ELBO, its KL exact where it can be.
        beta: Weight of the KL in the loss; the ELBO is at β = 1 whatever it is.

    Example:
        >>> from pyrovae import build, load_data
        >>> data = load_data("digits")
        >>> summary = evaluate(build("vae", "svi", data), data.test)
        >>> abs(summary.elbo - (summary.reconstruction - summary.kl)) < 1e-9
        True
    """
    device = next(autoencoder.parameters()).device
    if objective is None:
        few = observations(data, torch.arange(min(2, len(data)))).to(device)
        objective = build_objective(ELBOSpec(), autoencoder, few)
    totals, layouts = [], []
    with evaluating(autoencoder, device):
        for x in batches(data, device):
            loss, terms = objective.loss_and_terms(autoencoder, x, beta)
            totals.append(sums(loss, terms))
            layouts.append(Layout.of(terms))
    return Summary.of(torch.stack(totals), layouts[0], len(data))


def codes(autoencoder: Autoencoder, data: Dataset) -> Tensor:
    """Means of q(z | x), latent sites side by side, ``(data, dims)`` on the CPU.

    Where a guide's distribution has no mean that torch knows, one draw stands for it.
    """
    device = next(autoencoder.parameters()).device
    few = observations(data, torch.arange(1)).to(device)
    with evaluating(autoencoder, device):
        sites = autoencoder.traces(few).latent
        # Filled in place: many small tensors that are kept would hold the memory between them.
        found = torch.empty(len(data), means(autoencoder, few, sites).shape[1], dtype=few.dtype)
        start = 0
        for x in batches(data, device):
            found[start : start + len(x)] = means(autoencoder, x, sites)
            start += len(x)
    return found


def means(autoencoder: Autoencoder, x: Tensor, sites: Sequence[str]) -> Tensor:
    """As :func:`codes`, of a batch ``(batch, *shape)``, in whatever mode the programs are.

    From the guide alone: the decoder has no say in them.

    Args:
        autoencoder: Model and guide.
        x: The batch, on the programs' device.
        sites: The latent sites, in the model's order.
    """
    guide = poutine.trace(autoencoder.guide).get_trace(x)
    parts = [mean_or_draw(guide.nodes[name]["fn"]) for name in sites]
    return torch.cat([part.reshape(len(x), -1) for part in parts], dim=-1)


def active_dimensions(codes: Tensor) -> int:
    r"""Number of latent dimensions whose posterior mean varies with the data.

    .. math::
        \operatorname{Var}_x \mathbb{E}_{q(z \mid x)}[z_d] > 0.01

    References:
        Burda, Grosse and Salakhutdinov (2016), *Importance Weighted Autoencoders*,
        arXiv:1509.00519.
    """
    return int((codes.var(0) > ACTIVE_VARIANCE).sum())


def reconstruct(autoencoder: Autoencoder, x: Tensor) -> Tensor:
    """Means of p(x | z) at the means of q(z | x), for the first observed site."""
    with evaluating(autoencoder, x.device):
        guide = poutine.trace(autoencoder.guide).get_trace(x)
        for site in sites_by_role(guide, "latent").values():
            site["value"] = mean_or_draw(site["fn"])
        replayed = poutine.replay(autoencoder.model, trace=guide)
        return _observed_mean(poutine.trace(replayed).get_trace(x))


def prior_means(autoencoder: Autoencoder, x: Tensor) -> Tensor:
    """Means of p(x | z) at codes drawn from the prior, one for each datum of ``x``."""
    with evaluating(autoencoder, x.device):
        return _observed_mean(poutine.trace(autoencoder.model).get_trace(x))


def has_observed_site(autoencoder: Autoencoder, x: Tensor) -> bool:
    """Whether p(x | z) is a distribution at some site; a ``pyro.factor`` is only a density."""
    with evaluating(autoencoder, x.device):
        return bool(observed_sites(poutine.trace(autoencoder.model).get_trace(x)))


def _observed_mean(trace: Trace) -> Tensor:
    """The mean at the first observed site."""
    site: Site = trace.nodes[observed_sites(trace)[0]]
    return site["fn"].mean
