"""Checks of data, programs and objective before the first step."""

from __future__ import annotations

import logging

import pyro
import torch

from pyrovae.compute.capture import undone
from pyrovae.compute.distributed import ALONE, Processes
from pyrovae.compute.modes import evaluating, in_mode
from pyrovae.compute.randomness import seeded
from pyrovae.data import Batch, Dataset, Splits
from pyrovae.errors import ProgramError, PyrovaeError, SpecError, message, reason
from pyrovae.evaluation.metrics import Layout
from pyrovae.evaluation.support_check import check_support
from pyrovae.objectives import Objective, build_objective
from pyrovae.objectives.requirements import check
from pyrovae.programs.autoencoder import Autoencoder
from pyrovae.programs.traces import density_sites
from pyrovae.programs.vae import VAE
from pyrovae.specs.objectives import ObjectiveSpec

logger = logging.getLogger("pyrovae")


def check_once(
    autoencoder: Autoencoder, splits: Splits, wanted: ObjectiveSpec | Objective
) -> tuple[Objective, Layout]:
    """Check data and programs; return the objective and the layout of its report.

    The loop then runs without Pyro's own checks.

    Args:
        autoencoder: Model and guide.
        splits: The data, as the model sees them.
        wanted: Specification of the objective, or an objective.

    Raises:
        DataError: Data outside the support of p(x | z).
        SpecError: An objective that these programs do not permit, or a program whose sites do
            not fit.
    """
    for split in splits:
        check_support(autoencoder, split)
    device = autoencoder.device
    few = splits.train.batch(torch.arange(2)).to(device)
    try:
        if isinstance(wanted, Objective):
            objective = wanted
            check(type(wanted).__name__, wanted.needs, autoencoder, few)
        else:
            objective = build_objective(wanted, autoencoder, few, len(splits.train))
        for checked in (False, True):  # our messages come before Pyro's
            with evaluating(autoencoder, device), pyro.validation_enabled(checked):
                _, terms = objective.loss_and_terms(autoencoder, few)
    except (ProgramError, torch.OutOfMemoryError):
        raise
    except PyrovaeError as error:
        raise SpecError(f"{autoencoder.source}{message(error)}") from None
    except Exception as error:  # Pyro passes on any error of a program
        raise SpecError(f"{autoencoder.source}{reason(error)}") from error
    if isinstance(autoencoder, VAE):
        warn_of_unused(autoencoder, objective, few)
    return objective, Layout.of(terms)


def warn_of_unused(vae: VAE, objective: Objective, few: Batch) -> None:
    """Say which parameters of parts of a user's own have no gradient, and so are never fitted.

    Args:
        vae: The autoencoder.
        objective: The objective.
        few: A few observations, on the programs' device.
    """
    for name in vae.own_parts:
        named = vae.get_submodule(name).named_parameters()
        trained = {key: value for key, value in named if value.requires_grad}
        if not trained:
            continue
        with evaluating(vae, vae.device), torch.enable_grad():
            loss, _ = objective.loss_and_terms(vae, few)
            found = torch.autograd.grad(loss, list(trained.values()), allow_unused=True)
        unused = [key for key, gradient in zip(trained, found, strict=True) if gradient is None]
        if unused:
            others = f" and {len(unused) - 1} more" if len(unused) > 1 else ""
            logger.warning(
                "%s: parameter '%s'%s has no gradient, and is not fitted: use it in forward, or "
                "freeze it by requires_grad_(False)",
                name,
                unused[0],
                others,
            )


def require_same_sites(autoencoder: Autoencoder, data: Dataset, size: int) -> None:
    """Refuse programs that draw or observe other sites in some batches.

    Looked at are the first two batches, the last one, and one of two observations.

    Raises:
        SpecError: Names a site.
    """
    rows = torch.arange(len(data)).split(size)
    found: list[frozenset[str]] = []
    with evaluating(autoencoder, autoencoder.device):
        for index in (*rows[:2], rows[-1], torch.arange(2)):
            traces = autoencoder.traces(data.batch(index).to(autoencoder.device))
            found.append(frozenset(density_sites(traces.model) | density_sites(traces.guide)))
    if apart := frozenset[str]().union(*found) - found[0].intersection(*found[1:]):
        raise SpecError(
            f"{autoencoder.source}site '{min(apart)}' is met in some batches and not in others: "
            "let the programs have the same sites for all data, and a mask hide what is not there"
        )


def require_batches_that_train(
    autoencoder: Autoencoder,
    objective: Objective,
    data: Dataset,
    size: int,
    processes: Processes = ALONE,
) -> None:
    """Refuse batches of one observation, or shares of one, where training needs more.

    Batch normalisation does, for its variance.

    Raises:
        SpecError: Names a batch size that works.
    """
    count = len(data)
    if not _leaves_one(count, size, processes):
        return
    device = autoencoder.device
    alone = data.batch(torch.arange(1)).to(device)
    try:
        with (
            undone(autoencoder),
            in_mode(True, autoencoder),
            torch.no_grad(),
            seeded(0, device),
            pyro.validation_enabled(False),
        ):
            objective.loss_and_terms(autoencoder, alone)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # networks may raise anything
        others = (size + sign * far for far in range(1, count) for sign in (-1, 1))
        several = (b for b in others if b > 1 and not _leaves_one(count, b, processes))
        choice = next(several, 2 * processes.size)
        where = "" if processes.alone else f" for a process of {processes.size}"
        raise SpecError(
            f"inference.batch_size = {size} and {count} training data make "
            f"{'batches' if size == 1 else 'a last batch'} of one observation{where}, which "
            f"cannot be trained on alone: {reason(error)}; choose inference.batch_size = {choice}"
        ) from None


def _leaves_one(count: int, size: int, processes: Processes) -> bool:
    """True if some process has a single one of a batch's observations."""
    n = processes.size
    return any(1 in (batch // n, -(-batch // n)) for batch in (min(size, count), count % size))
