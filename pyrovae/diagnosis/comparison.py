"""Comparison of models by log p(x) on the same data, with its uncertainty."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pyrovae.compute.modes import evaluating
from pyrovae.data import Batch
from pyrovae.diagnosis.stacking import stacking_weights
from pyrovae.errors import DataError, SpecError
from pyrovae.evaluation import annealed_importance as annealing
from pyrovae.evaluation.annealing_path import Start
from pyrovae.evaluation.batches import batch_of
from pyrovae.evaluation.importance import standard_error
from pyrovae.evaluation.local import LocalPosterior
from pyrovae.evaluation.pointwise import (
    CHAINS,
    STEPS,
    Evaluation,
    evaluate_pointwise,
    measure,
)
from pyrovae.programs.arguments import options_checked, require_models
from pyrovae.programs.autoencoder import Autoencoder
from pyrovae.programs.given_values import as_count
from pyrovae.specs.computation import Computation

# Data to measure bound gaps on; fewer where they are annealed, which takes long.
SIMULATIONS, ANNEALED_SIMULATIONS = 300, 100
# Differences within so many standard errors, or of fewer than so many nats over all data, count
# as none: Sivula, Magnusson, Matamoros and Vehtari (2020), arXiv:2008.10296.
STANDARD_ERRORS, FEWEST_NATS = 2.0, 4.0
# With fewer data, the standard error is not to be trusted either (the same).
FEWEST_DATA = 100


@dataclass(frozen=True)
class Comparison:
    """Several models on the same data, best first; in nats, float64 on the CPU.

    Attributes:
        names: Names of the models.
        log_prob: Estimate of log p(x), ``(models, data)``.
        gap: Upper minus lower bound on log p(x) of data simulated from the model itself,
            ``(models, simulations)``: the most by which such estimates are too low. NaN where
            it is not known.
        weights: Stacking weights, ``(models,)``.
        evaluations: Bound and log p(x) of each observation, for each model.
        ais: Whether the estimates are annealed.
    """

    names: tuple[str, ...]
    log_prob: Tensor
    gap: Tensor
    weights: Tensor
    evaluations: tuple[Evaluation, ...]
    ais: bool

    @property
    def mean(self) -> Tensor:
        """Mean of log p(x) over data, ``(models,)``."""
        return self.log_prob.mean(-1)

    @property
    def error(self) -> Tensor:
        """Standard error of :attr:`mean`, ``(models,)``."""
        return standard_error(self.log_prob)

    @property
    def difference(self) -> Tensor:
        """Mean of log p(x) less that of the best model, ``(models,)``; the first is zero."""
        return (self.log_prob - self.log_prob[0]).mean(-1)

    @property
    def difference_error(self) -> Tensor:
        r"""Standard error of :attr:`difference`, from paired differences.

        .. math::
            \operatorname{se}_k = \sqrt{\operatorname{Var}_n(\log p_k(x_n) - \log p_1(x_n)) / N}
        """
        return standard_error(self.log_prob - self.log_prob[0])

    @property
    def mean_gap(self) -> Tensor:
        """Mean of :attr:`gap`, ``(models,)``."""
        return self.gap.mean(-1)

    @property
    def gap_error(self) -> Tensor:
        """Standard error of :attr:`mean_gap`, ``(models,)``."""
        return standard_error(self.gap)

    @property
    def rise(self) -> Tensor:
        """Mean increase of log p(x) from half as many latents to all, ``(models,)``.

        Over the data that are compared; 0 where log p(x) is annealed. At least as much is still
        missing: exactly as much where the weights have a finite variance, as halving the number
        of latents then doubles the gap.
        """
        rise = torch.stack([evaluation.rise.mean() for evaluation in self.evaluations])
        return torch.zeros_like(rise) if self.ais else rise.nan_to_num()

    def ranked(self, model: int) -> bool:
        """True if the best model is better than another beyond doubt."""
        return not self._doubt(model)

    def verdicts(self) -> list[str]:
        """A sentence that compares the best model with each of the others."""
        return [self._verdict(model) for model in range(1, len(self.names))]

    def notes(self) -> list[str]:
        """Caveats that apply to every verdict."""
        count = self.log_prob.shape[-1]
        if count >= FEWEST_DATA:
            return []
        return [
            f"with only {count} data, fewer than {FEWEST_DATA}, standard errors are themselves "
            "uncertain"
        ]

    def _verdict(self, model: int) -> str:
        best, other = self.names[0], self.names[model]
        doubt = self._doubt(model)
        if doubt:
            return f"{best} and {other} cannot be ranked: {doubt}"
        return f"{best} is better than {other} by {self._spelled(model)}"

    def _doubt(self, model: int) -> str:
        """Reason why two models cannot be ranked, and advice; empty if they can."""
        lead = -self.difference[model].item()
        error = self.difference_error[model].item()
        gap, gap_error = self.mean_gap[model].item(), self.gap_error[model].item()
        count, other = self.log_prob.shape[-1], self.names[model]
        if not lead > STANDARD_ERRORS * error:
            return (
                f"the difference of {self._spelled(model)} is within {STANDARD_ERRORS:g} standard "
                "errors; only more data can tell them apart"
            )
        if lead * count < FEWEST_NATS:
            return (
                f"the difference is {lead * count:.1f} nats over all {count} data, less than "
                f"{FEWEST_NATS:g}, too little to mean anything; only more data can tell them apart"
            )
        if math.isnan(gap):
            return f"how far the estimate for {other} is too low could not be measured"
        advice = "no estimate here is better" if self.ais else "use more --samples, or --ais"
        if not lead - gap > STANDARD_ERRORS * math.hypot(error, gap_error):
            return (
                f"the estimate for {other} may be too low by {gap:.2f} ± {gap_error:.2f} nats per "
                f"observation, its bound gap, and the difference is {self._spelled(model)}; "
                f"{advice}"
            )
        rise = self.rise[model].item()
        if not lead - rise > STANDARD_ERRORS * error:
            return (
                f"the estimate for {other} has risen by {rise:.2f} nats per observation from half "
                "as many latents, as much may still be missing, and the difference is "
                f"{self._spelled(model)}; {advice}"
            )
        return ""

    def _spelled(self, model: int) -> str:
        difference, error = -self.difference[model].item(), self.difference_error[model].item()
        return f"{difference:.2f} ± {error:.2f} nats per observation"


@options_checked
def compare(
    autoencoders: Mapping[str, Autoencoder],
    batch: Any,
    *,
    samples: int = 1000,
    ais: bool = False,
    simulations: int | None = None,
    progress: bool = False,
    computation: Computation | None = None,
) -> Comparison:
    """Compare models by log p(x) of data that none of them was fitted to.

    Estimates of log p(x) are lower bounds, tighter for one model than for another, so a model
    may seem worse because of its guide. Each estimate therefore comes with its gap on data
    simulated from the model, whose latents are known, and a model whose gap could make up the
    difference is not ranked. On data unlike those of the model the gap is larger; therefore a
    model whose own estimate still rises with the number of latents by as much is not ranked
    either.

    Args:
        autoencoders: Two or more by name, on one device.
        batch: The data as all of them see them; see :func:`evaluate_pointwise`.
        samples: Latents for each observation.
        ais: Whether to estimate log p(x) by annealing; needed if a guide is a point.
        simulations: Number of data to measure the gap on; by default
            :func:`usual_simulations`.
        progress: Whether to draw progress bars.
        computation: Options of compilation and precision.

    Raises:
        SpecError: Fewer than two models; some give probabilities and others densities; or a
            guide is a point and ``ais`` is not asked for; or an argument is of another kind.
        DataError: A density is not finite; names the model and the data. Or the data are of
            another kind or shape.
    """
    require_models("compare(models, data)", autoencoders)
    batch = batch_of("compare(models, data)", next(iter(autoencoders.values())), batch)
    samples = as_count("compare", samples, "samples")
    if simulations is None:
        simulations = usual_simulations(ais=ais)
    simulations = as_count("compare", simulations, "simulations")
    require_comparable(autoencoders, batch, ais=ais)
    found, like = {}, batch[torch.arange(simulations, device=batch.device) % len(batch)]
    for name, autoencoder in autoencoders.items():
        bar = name if progress else ""
        try:
            evaluation = evaluate_pointwise(
                autoencoder, batch, samples, ais=ais, progress=bar, computation=computation
            )
        except DataError as error:
            raise DataError(f"{name}: {error}") from error
        start: Start | None = None
        if ais:
            start = "prior" if evaluation.point else "guide"
        gap = _gap(autoencoder, like, samples, start, computation)
        found[name] = evaluation, gap
    # Equal ones in the order of their names, whatever order they came in.
    names = sorted(found, key=lambda name: (-found[name][0].best_log_prob.mean().item(), name))
    evaluations = tuple(found[name][0] for name in names)
    log_prob = torch.stack([evaluation.best_log_prob for evaluation in evaluations])
    gap = torch.stack([found[name][1] for name in names])
    return Comparison(tuple(names), log_prob, gap, stacking_weights(log_prob), evaluations, ais)


def usual_simulations(*, ais: bool) -> int:
    """Default number of simulated data to measure bound gaps on."""
    return ANNEALED_SIMULATIONS if ais else SIMULATIONS


def require_comparable(
    autoencoders: Mapping[str, Autoencoder], batch: Batch, *, ais: bool
) -> None:
    """Refuse models whose log p(x) cannot be compared, or cannot be estimated.

    Raises:
        SpecError: As :func:`compare`.
    """
    if len(autoencoders) < 2:
        raise SpecError(
            f"a comparison needs at least two models, and there is {len(autoencoders)}"
        )
    measures = {measure(model, batch): name for name, model in autoencoders.items()}
    if len(measures) > 1:
        (one, first), (other, second), *_ = sorted(measures.items(), reverse=True)
        raise SpecError(
            f"{first} gives data {one} and {second} {other}, which cannot be compared: choose "
            "likelihoods that are both discrete or both continuous, and both of whole rows or "
            "both given their totals"
        )
    for name, model in autoencoders.items():
        with evaluating(model, batch.device):
            point = LocalPosterior(model, batch[:1]).point
        if point and not ais:
            raise SpecError(
                f"the guide of {name} is a point, from which log p(x) cannot be estimated by "
                "importance sampling: use --ais, in Python ais=True"
            )


def _gap(
    autoencoder: Autoencoder,
    like: Batch | Tensor,
    samples: int,
    start: Start | None,
    computation: Computation | None,
) -> Tensor:
    """Upper minus lower bound for simulated data, annealed if a start is given.

    NaN where the bounds cannot be computed.
    """
    try:
        if start is None:
            found = annealing.importance_bracket(autoencoder, like, samples)
        else:
            found = annealing.bracket(
                autoencoder,
                like,
                steps=STEPS,
                chains=CHAINS,
                start=start,
                computation=computation,
            )
    except (SpecError, DataError):
        return torch.full((len(like),), torch.nan, dtype=torch.float64)
    return found.upper - found.lower
