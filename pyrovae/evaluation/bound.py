"""The bound of a split, and its parts."""

from __future__ import annotations

from dataclasses import replace

import torch

from pyrovae.compute.distributed import ALONE, Processes
from pyrovae.compute.modes import EVALUATION_SEED, evaluating
from pyrovae.compute.randomness import reseed
from pyrovae.data import Dataset
from pyrovae.evaluation.batches import batches, observations
from pyrovae.evaluation.metrics import BoundSummary, Layout, sums
from pyrovae.objectives import Objective, build_objective
from pyrovae.programs.autoencoder import Autoencoder
from pyrovae.specs.objectives import ELBOSpec


def evaluate(
    autoencoder: Autoencoder,
    data: Dataset,
    objective: Objective | None = None,
    *,
    beta: float = 1.0,
    processes: Processes = ALONE,
) -> BoundSummary:
    """The bound on a split, its parts, and the loss at some β, in nats per observation.

    Always the same random numbers: two evaluations of the same weights agree.

    Args:
        autoencoder: Model and guide.
        data: The split, as loaded or as the model sees it.
        objective: Objective of the loss; by default the ELBO, with the exact KL where one exists.
        beta: Weight of the KL in the loss; the reported ELBO is always at β = 1.
        processes: The processes that call this together, each for its share of the observations,
            with noise of its own; all have the result.

    Example:
        >>> from pyrovae import build, load_data
        >>> data = load_data("digits")
        >>> summary = evaluate(build("vae", "svi", data), data.test)
        >>> abs(summary.elbo - (summary.reconstruction - summary.kl)) < 1e-9
        True
    """
    data = autoencoder.contract.prepared(data)
    device = autoencoder.device
    if objective is None:
        few = observations(data, torch.arange(min(2, len(data)))).to(device)
        objective = build_objective(ELBOSpec(), autoencoder, few)
    own = data if processes.alone else replace(data, rows=processes.share(data.rows))
    found = []
    with evaluating(autoencoder, device):
        if not processes.is_first:
            reseed(device, EVALUATION_SEED, processes.rank)
        for batch in batches(own, device) if len(own) else ():
            loss, terms = objective.loss_and_terms(autoencoder, batch, beta)
            found.append((sums(loss, terms), Layout.of(terms)))
    if not processes.alone:
        parts = processes.gather([(total.cpu(), layout) for total, layout in found])
        found = [each for part in parts for each in part]
    totals, layouts = zip(*found, strict=True)
    return BoundSummary.of(torch.stack(totals), layouts[0], len(data))
