"""The bound of a split, and its parts."""

from __future__ import annotations

import torch

from pyrovae.compute.modes import evaluating
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
) -> BoundSummary:
    """The bound on a split, its parts, and the loss at some β, in nats per observation.

    Always the same random numbers: two evaluations of the same weights agree.

    Args:
        autoencoder: Model and guide.
        data: The split, as loaded or as the model sees it.
        objective: Objective of the loss; by default the ELBO, with the exact KL where one exists.
        beta: Weight of the KL in the loss; the reported ELBO is always at β = 1.

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
    totals, layouts = [], []
    with evaluating(autoencoder, device):
        for batch in batches(data, device):
            loss, terms = objective.loss_and_terms(autoencoder, batch, beta)
            totals.append(sums(loss, terms))
            layouts.append(Layout.of(terms))
    return BoundSummary.of(torch.stack(totals), layouts[0], len(data))
