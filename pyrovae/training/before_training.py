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
from pyrovae.specs import InferenceSpec
from pyrovae.specs.objectives import ObjectiveSpec
from pyrovae.training.micro_batches import micro_batches

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
    spec: InferenceSpec,
    processes: Processes = ALONE,
) -> None:
    """Refuse parts of batches in which the objective cannot be computed.

    An objective that compares observations needs the whole batch; batch normalisation needs two
    observations, for its variance.

    Raises:
        SpecError: Names a batch size that works, or the key that splits batches.
    """
    if spec.accumulate > 1 and objective.compares:
        raise SpecError(
            f"inference.accumulate = {spec.accumulate} splits batches, and the objective "
            f"({objective.title}) compares the observations of a batch with each other: choose "
            "inference.accumulate = 1, or an objective that is a mean over observations"
        )
    count, size = len(data), spec.batch_size
    if not _leaves_one(count, spec, processes):
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
        several = (
            b
            for b in others
            if b > 1
            and not _leaves_one(count, spec.model_copy(update={"batch_size": b}), processes)
        )
        choice = next(several, 2 * processes.size * spec.accumulate)
        where = "" if processes.alone else f" for a process of {processes.size}"
        single = "a last batch" if spec.accumulate == 1 else "parts of batches"
        raise SpecError(
            f"inference.batch_size = {size} and {count} training data make "
            f"{'batches' if size == 1 else single} of one observation{where}, which "
            f"cannot be trained on alone: {reason(error)}; choose inference.batch_size = {choice}"
        ) from None


def _leaves_one(count: int, spec: InferenceSpec, processes: Processes) -> bool:
    """True if some process sees a single one of a batch's observations at a time."""
    n, size = processes.size, spec.batch_size
    shares = (share for batch in (min(size, count), count % size)
              for share in (batch // n, -(-batch // n)))  # fmt: skip
    return any(1 in micro_batches(share, spec, processes) for share in shares)
