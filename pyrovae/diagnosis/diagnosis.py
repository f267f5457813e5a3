"""All checks of a fitted autoencoder on some data."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pyrovae import notebook
from pyrovae.compute.distributed import ALONE, Processes
from pyrovae.compute.modes import evaluating
from pyrovae.data import Batch, Dataset
from pyrovae.diagnosis import gap, mcmc, sandwich
from pyrovae.diagnosis.aggregate import check_aggregate
from pyrovae.diagnosis.bound import Bound
from pyrovae.diagnosis.calibration import Calibration, check_calibration
from pyrovae.diagnosis.classes import check_classes
from pyrovae.diagnosis.collapse import check_collapse
from pyrovae.diagnosis.convergence import check_convergence
from pyrovae.diagnosis.gap import check_gap
from pyrovae.diagnosis.mcmc import MCMC, check_mcmc
from pyrovae.diagnosis.pareto import check_weights
from pyrovae.diagnosis.predictive import check_predictive
from pyrovae.diagnosis.predictive_draws import (
    Replicates,
    how_many,
    posterior_predictive,
    prior_predictive,
)
from pyrovae.diagnosis.sandwich import check_sandwich
from pyrovae.errors import DataError, SpecError
from pyrovae.evaluation import annealed_importance as annealing
from pyrovae.evaluation.annealed_importance import anneal
from pyrovae.evaluation.annealing_path import Start
from pyrovae.evaluation.batches import observations
from pyrovae.evaluation.cost import seconds_per_gradient
from pyrovae.evaluation.hidden_units import hidden_units
from pyrovae.evaluation.importance import bounds, draw_codes, draw_weighted, require_density
from pyrovae.evaluation.local import Draws, LocalPosterior
from pyrovae.evaluation.results import Check, Grade, NotApplicable, worse
from pyrovae.programs.arguments import options_checked, split_of
from pyrovae.programs.autoencoder import Autoencoder
from pyrovae.programs.given_values import as_count
from pyrovae.specs.computation import Computation
from pyrovae.training.records import History, as_history

if TYPE_CHECKING:
    from xarray import DataTree

FEWEST_DATA, FEWEST_DRAWS = 5, 100
# Data that are simulated for the sandwich, and those that get Markov chains.
SIMULATED, CHAINED = 100, 32
NEAL = "Neal (2001), arXiv:physics/9803008"

Outcome = Check | NotApplicable


@dataclass(frozen=True)
class Diagnosis:
    """Results of :func:`diagnose`: draws, data and checks.

    Attributes:
        name: Name of the data.
        batch: The data that were looked at, as the model sees them, on the CPU.
        labels: Classes of the data ``(obs,)``, if there are any.
        draws: Latents from the guide with their log-densities.
        prior: Data sets from the model with their latents, ``(replicates, obs, ...)``; None if the
            model has no distribution of the data.
        replicas: Data from the posteriors of the data, ``(replicates, obs, *shape)`` by variable;
            None as well.
        codes: Names of the latent dimensions.
        outcomes: The checks, in the order of a report; and those that do not apply.
        seconds: Seconds of each check, by its question.
    """

    name: str
    batch: Batch
    labels: Tensor | None
    draws: Draws
    prior: Replicates | None
    replicas: dict[str, Tensor] | None
    codes: list[str]
    outcomes: Sequence[Outcome]
    seconds: dict[str, float]

    def __repr__(self) -> str:
        return f"Diagnosis({self._subject}: {self.grade})"

    def _repr_html_(self) -> str:
        rows = [
            (outcome.question, *outcome.verdict())
            if isinstance(outcome, Check)
            else (outcome.question, "–", f"does not apply: {outcome.why}", "")
            for outcome in self.outcomes
        ]
        table = notebook.grid(("check", "grade", "finding", "advice"), rows)
        return notebook.card(f"{self._subject}: {self.grade}", table)

    @property
    def _subject(self) -> str:
        return f"{len(self.batch)} observations of {self.name}"

    @property
    def x(self) -> Tensor:
        """The observations that were looked at, ``(obs, *shape)``."""
        return self.batch.x

    @property
    def checks(self) -> list[Check]:
        """The checks that apply."""
        return [outcome for outcome in self.outcomes if isinstance(outcome, Check)]

    @property
    def grade(self) -> Grade:
        """The worst of all grades."""
        grades: list[Grade] = [check.verdict().grade for check in self.checks]
        return reduce(worse, grades, "ok")

    def tree(self, attrs: Mapping[str, Any] | None = None) -> DataTree:
        """Draws, data and checks for ArviZ; see :func:`pyrovae.to_arviz`.

        Args:
            attrs: Attributes of the tree: what was fitted, to what.
        """
        from pyrovae.diagnosis.arviz_tree import posterior_tree

        found = {name: v.values for check in self.checks for name, v in check.variables().items()}
        drawn = [] if self.prior is None else self.prior.data
        ranked = next((c.names for c in self.checks if isinstance(c, Calibration)), None)
        return posterior_tree(
            draws=self.draws,
            prior=None if self.prior is None else self.prior.z,
            prior_predictive=None if self.prior is None else self.prior.data,
            posterior_predictive=self.replicas,
            observed={"x": self.x} | {name: self.batch.variables[name] for name in drawn},
            pit=found.get("pit"),
            pit_names=ranked,
            pit_log_joint=found.get("pit_log_joint"),
            checks=self.checks,
            names=self.codes,
            labels=self.labels,
            attrs=attrs,
        )

    def chain_tree(self, attrs: Mapping[str, Any] | None = None) -> DataTree | None:
        """Draws of the Markov chains for ArviZ, where there are any; ``attrs`` as above."""
        from pyrovae.diagnosis.arviz_tree import mcmc_tree

        for check in self.checks:
            if isinstance(check, MCMC):
                stats = check.sample_stats
                return mcmc_tree(check.z, stats, check.starts, names=self.codes, attrs=attrs)
        return None


class Questions:
    """Checks in order, with their outcomes and times.

    Args:
        tell: Called with each outcome as soon as it is there.
        reworded: Advice in the words of what the user wrote.
    """

    def __init__(
        self, tell: Callable[[Outcome], None], reworded: Callable[[str], str] = str
    ) -> None:
        self.tell = tell
        self.reworded = reworded
        self.outcomes: list[Outcome] = []
        self.seconds: dict[str, float] = {}

    def ask(self, question: str, check: Callable[[], Check]) -> Outcome:
        """Make a check; one that cannot be made for these programs says why."""
        started = time.monotonic()
        try:
            outcome: Outcome = check()
        except (SpecError, DataError) as error:
            outcome = NotApplicable(question, self.reworded(str(error)))
        self.seconds[question] = time.monotonic() - started
        self.outcomes.append(outcome)
        self.tell(outcome)
        return outcome


@options_checked
def diagnose(
    autoencoder: Autoencoder,
    data: Any,
    *,
    num: int = 256,
    draws: int = 1000,
    full: bool = False,
    history: History | None = None,
    tell: Callable[[Outcome], None] = lambda outcome: None,
    computation: Computation | None = None,
    processes: Processes = ALONE,
) -> Diagnosis:
    """Run all checks of the posteriors of a fitted autoencoder.

    The random numbers are always the same; neither the autoencoder nor the state of the caller's
    random numbers changes.

    Args:
        autoencoder: Model and guide.
        data: A split, as loaded or as the model sees it; splits, of which the test data are taken;
            or an array, a tensor or a DataFrame of values as the model sees them.
        num: Number of data to look at.
        draws: Latents from the guide for each.
        full: Also anneal, re-optimise and run Markov chains, which takes minutes.
        history: What :func:`pyrovae.fit` returned; without it convergence does not apply.
        tell: Called with each outcome as soon as it is there.
        computation: Options of compilation and precision.
        processes: The processes that call this together. They share the draws from the guide and
            what ``full`` adds, and each makes the other checks; all have the result, which does
            not depend on their number.

    Raises:
        DataError: There are fewer data than the checks need, some have no density, or they are of
            another kind or shape.
        SpecError: Fewer draws were asked for than the checks need; or an argument is of another
            kind.
    """
    split = split_of("diagnose(vae, data)", autoencoder, data)
    num, draws = as_count("diagnose", num), as_count("diagnose", draws, "draws")
    history = as_history("diagnose", history)
    seen = require_enough(split.first(num), draws)
    device = autoencoder.device
    index = torch.arange(len(seen))
    batch, labels = observations(seen, index).to(device), seen.label(index)
    with evaluating(autoencoder, device):
        local = LocalPosterior(autoencoder, batch)
    drawn = (
        draw_codes(autoencoder, batch, 1, processes)
        if local.point
        else draw_weighted(autoencoder, batch, draws, processes)
    )
    inquiry = Questions(tell, autoencoder.reworded)
    ask = inquiry.ask
    ask("convergence", lambda: _convergence(history, autoencoder, batch))
    bound = ask("bound", lambda: _bound(local, drawn, computation, processes, annealed=full))
    ask("importance weights", lambda: _weights(local, drawn))
    ask("calibration", lambda: check_calibration(autoencoder, _unmasked(local, 1)))
    ask("latent dimensions", lambda: check_collapse(autoencoder, _unmasked(local)))
    if local.discrete.any():
        ask("classes", lambda: check_classes(autoencoder, batch, labels))
    ask("aggregated posterior", lambda: check_aggregate(autoencoder, _unmasked(local)))
    ask("prior predictive", lambda: check_predictive(autoencoder, batch))
    if full:
        start: Start = "prior" if local.point else "guide"
        simulated = batch[:SIMULATED]
        ask(
            "log p(x)",
            lambda: check_sandwich(
                autoencoder, simulated, start=start, computation=computation, processes=processes
            ),
        )
        ask("inference gap", lambda: _gap(local, bound, processes))
        ask("chains", lambda: _chains(local, computation, processes))
    return Diagnosis(
        name=seen.name,
        batch=batch.cpu(),
        labels=None if labels is None else labels.cpu(),
        draws=drawn,
        prior=_prior_predictive(autoencoder, batch),
        replicas=_posterior_predictive(autoencoder, batch, drawn.z[: how_many(batch.x)]),
        codes=local.names,
        outcomes=inquiry.outcomes,
        seconds=inquiry.seconds,
    )


def cost(autoencoder: Autoencoder, batch: Batch) -> float:
    """Estimate of the seconds that ``full`` adds.

    Args:
        autoencoder: Model and guide.
        batch: The data to be looked at.
    """
    gradients = (
        annealing.gradients(len(batch))
        + sandwich.gradients(len(batch[:SIMULATED]))
        + gap.gradients(len(batch))
        + mcmc.gradients(len(batch[:CHAINED]))
    )
    return gradients * seconds_per_gradient(autoencoder, batch)


def require_enough(seen: Dataset, draws: int) -> Dataset:
    """The data, if they and the draws are as many as every check needs.

    Raises:
        DataError: There are too few data.
        SpecError: There are too few draws.
    """
    if draws < FEWEST_DRAWS:
        raise SpecError(
            f"draws = {draws}: the checks need at least {FEWEST_DRAWS} for each observation"
        )
    if len(seen) < FEWEST_DATA:
        raise DataError(
            f"{seen.name}: {len(seen)} data are too few, the checks need {FEWEST_DATA}"
        )
    return seen


def _convergence(history: History, autoencoder: Autoencoder, batch: Batch) -> Check:
    if not history:
        raise SpecError(
            "there is no history of the training: give diagnose(..., history=history), where "
            "history is what fit returned"
        )
    return check_convergence(history, hidden_units(autoencoder, batch))


def _bound(
    local: LocalPosterior,
    drawn: Draws,
    computation: Computation | None,
    processes: Processes,
    *,
    annealed: bool,
) -> Bound:
    """Compare the ELBO with log p(x), which is annealed if requested and possible."""
    require_density(local)
    elbo, log_prob, _ = bounds(drawn.log_weight)
    if not annealed or local.discrete.any():  # annealing needs gradients
        return Bound(elbo, log_prob, f"importance weighted, {len(drawn.z)} draws")
    found = anneal(local.autoencoder, local.batch, computation=computation, processes=processes)
    return Bound(elbo, found.log_prob, "annealed from the guide", NEAL)


def _unmasked(local: LocalPosterior, fewest: int = FEWEST_DATA) -> Batch:
    """The observations of which no latent is masked.

    Raises:
        SpecError: There are fewer than asked for.
    """
    with evaluating(local.autoencoder, local.batch.device):
        present = local.present
    whole = present.all(-1)
    if whole.all():
        return local.batch
    count = int(whole.sum())
    if count < fewest:
        first = local.names[int((~present).any(0).int().argmax())]
        raise SpecError(
            f"{count} of {len(local)} observations have all latents, fewer than {fewest}, and "
            f"those that a mask hides, such as {first}, mean nothing: look at data of which no "
            "latent is masked, such as sequences of one length"
        )
    return local.batch[whole]


def _chains(local: LocalPosterior, computation: Computation | None, processes: Processes) -> Check:
    data = _unmasked(local, 1)[:CHAINED]
    return check_mcmc(local.autoencoder, data, computation=computation, processes=processes)


def _weights(local: LocalPosterior, drawn: Draws) -> Check:
    require_density(local)
    return check_weights(drawn.log_weight)


def _gap(local: LocalPosterior, bound: Outcome, processes: Processes) -> Check:
    if not isinstance(bound, Bound):
        raise SpecError(bound.why if isinstance(bound, NotApplicable) else "there is no bound")
    return check_gap(local.autoencoder, local.batch, bound.elbo, bound.log_prob, processes)


def _prior_predictive(autoencoder: Autoencoder, batch: Batch) -> Replicates | None:
    try:
        return prior_predictive(autoencoder, batch, how_many(batch.x))
    except SpecError:  # the check of it has said why
        return None


def _posterior_predictive(
    autoencoder: Autoencoder, batch: Batch, z: Tensor
) -> dict[str, Tensor] | None:
    try:
        return posterior_predictive(autoencoder, batch, z)
    except SpecError:  # a factor cannot be drawn from
        return None
