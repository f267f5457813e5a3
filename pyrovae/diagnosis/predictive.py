"""Prior predictive check: statistics of the data against those of replicated data sets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pyrovae.compute import chunks
from pyrovae.compute.modes import evaluating
from pyrovae.data import Batch
from pyrovae.diagnosis.predictive_statistics import (
    NEGATIVE,
    SKEWNESS,
    Kind,
    Moments,
    definition,
    kind_of,
    moments,
    number_of,
    per_datum,
)
from pyrovae.errors import DataError
from pyrovae.evaluation.results import Check, Grade, Number, Variable, Verdict, grade, worse
from pyrovae.evaluation.simulation import simulate
from pyrovae.programs.autoencoder import Autoencoder

# In standard deviations over observations: our own, below what Cohen (1988) calls small and at
# what he calls medium.
WARN, FAIL = 0.1, 0.5
SIGNIFICANT = 0.05
FEWEST_REPLICATES = 20  # below, no tail probability is below SIGNIFICANT
NAMED, LISTED = 3, 12  # statistics in the finding, and in the table of numbers
REFERENCE = "Rubin (1984), Annals of Statistics 12; Box (1980), JRSS A 143"
ADVICE = {
    "noise": (
        "single values of draws from p(x | z) scatter more than those of the data: let "
        "model.likelihood.noise be 'learned' or 'per_pixel' where it has one, or fit a larger "
        "model.decoder for longer"
    ),
    "zeros": (
        "the likelihood does not give as many zeros as there are: for counts choose "
        "model.likelihood.kind 'negative_binomial', for grey levels 'categorical'"
    ),
    "shape": (
        "draws from p(x | z) have another shape than the data, such as negative values of a "
        "column that has none: take logarithms of columns that are positive and skewed, or choose "
        "another model.likelihood.kind"
    ),
    "other": (
        "do not use draws from p(x) as data: if aggregated posterior and prior differ too, choose "
        "model.prior.kind 'vamp' or 'flow', else a larger model.decoder, another "
        "model.likelihood.kind or a longer training"
    ),
}


@dataclass(frozen=True, eq=False, repr=False)
class Predictive(Check):
    """Statistics of the data and of data sets drawn from the model; float64, CPU.

    Attributes:
        names: Names of the statistics.
        observed: Statistics of the data, ``(statistics,)``, each the mean of a number per
            observation.
        replicated: Statistics of data sets from the model, ``(replicates, statistics)``.
        effect: Observed - mean of the replicated, in standard deviations of the number per
            observation, ``(statistics,)``.
        tail: Two-sided tail probability of each statistic, ``(statistics,)``.
        adjusted: Tail probability adjusted for the number of statistics, ``(statistics,)``.
    """

    question = "prior predictive"

    names: list[str]
    observed: Tensor
    replicated: Tensor
    effect: Tensor
    tail: Tensor
    adjusted: Tensor

    def grades(self) -> list[Grade]:
        """Grade of each statistic: by its effect, if that is significant."""
        return [
            grade(abs(effect), WARN, FAIL) if adjusted < SIGNIFICANT else "ok"
            for effect, adjusted in zip(self.effect.tolist(), self.adjusted.tolist(), strict=True)
        ]

    def verdict(self) -> Verdict:
        """Grade of the worst statistic; names those that are off, the worst first."""
        grades = self.grades()
        off = [index for index in self._by_effect() if grades[index] != "ok"]
        if not off:
            return Verdict("ok", self._no_difference())
        result: Grade = "ok"
        for index in off:
            result = worse(result, grades[index])
        said = ", ".join(
            f"{self.names[index]} {self.effect[index].item():+.2f} sd" for index in off[:NAMED]
        )
        more = f" and {len(off) - NAMED} more" if len(off) > NAMED else ""
        finding = (
            f"the data differ from {len(self.replicated)} data sets drawn from the model in "
            f"{len(off)} of {len(self.names)} statistics: {said}{more}"
        )
        return Verdict(result, finding, ADVICE[self._cause(off)])

    def numbers(self) -> list[Number]:
        """The largest effects, in descending order."""
        rows = []
        for index in self._by_effect()[:LISTED]:
            tail, adjusted = self.tail[index].item(), self.adjusted[index].item()
            least = 2 / len(self.replicated)  # replicates bound what is less probable
            bounded = f"< {least:.3g}" if tail < least else f"{tail:.3g}"
            rows.append(
                Number(
                    self.names[index],
                    self.effect[index].item(),
                    "sd",
                    f"{definition(self.names[index])}: mean of the data, "
                    f"{self.observed[index].item():.4g}, - mean of data sets from the model, "
                    f"{self.replicated[:, index].mean().item():.4g}, in standard deviations of "
                    f"the number per observation; two-sided tail probability {bounded}, and "
                    f"{adjusted:.3g} for the largest of all statistics",
                    REFERENCE,
                )
            )
        return rows

    def variables(self) -> dict[str, Variable]:
        """The statistics of the data and of each replicate."""
        names = "; ".join(self.names)
        return {
            "observed_statistic": Variable(
                ("statistic",), self.observed.numpy(), f"means over the data: {names}"
            ),
            "replicated_statistic": Variable(
                ("replicate", "statistic"),
                self.replicated.numpy(),
                "the same of data sets drawn from the model",
            ),
        }

    def _by_effect(self) -> list[int]:
        return self.effect.abs().argsort(descending=True).tolist()

    def _no_difference(self) -> str:
        count, found = len(self.names), int((self.adjusted < SIGNIFICANT).sum())
        if found:
            return (
                f"{found} of {count} statistics differ by more than chance explains, but by less "
                f"than {WARN} sd"
            )
        largest = self.effect.abs().max().item() if self.names else 0.0
        return (
            f"none of {count} statistics differs by more than chance explains; the largest "
            f"difference is {largest:.2f} sd"
        )

    def _cause(self, off: list[int]) -> str:
        """Cause of the worst statistic, unless values are negative that cannot be."""
        if any(self.names[index].startswith(NEGATIVE) for index in off):
            return "shape"
        name, lower = number_of(self.names[off[0]]), bool(self.effect[off[0]] < 0)
        if name == "zeros":
            return "zeros"
        if name.startswith(SKEWNESS):
            return "shape"
        return "noise" if name in ("roughness", "contrast", "maximum") and lower else "other"


def check_predictive(
    autoencoder: Autoencoder, batch: Batch | Tensor, replicates: int = 200
) -> Predictive:
    r"""Compare statistics of the data with those of data sets of the same size from p(x).

    .. math::
        T(X) = \frac1N \sum_n t(x_n), \qquad
        d = \frac{T(X) - \operatorname{E} T(X^\text{rep})}{\operatorname{sd} t(x)}, \qquad
        x^\text{rep}_n \sim p(x) = \int p(x \mid z)\, p(z)\, \mathrm{d}z

    The latents of replicates are drawn from the prior. Drawn from q(z | x) of the data (the
    posterior predictive) they would use the data twice: reconstructions resemble their data
    however bad the model is, and tail probabilities concentrate around 1/2. Single pixels are
    not compared: they are many, and an image is characterised by their dependence.

    A statistic is the mean over the data of one number per observation (:func:`per_datum`), or
    its spread, the mean distance of that number from its mean in the set: the first tests single
    observations, the second their variety. For a table with few columns the statistics are of
    the columns themselves, of their skewness and correlations, and the share of negative values
    where the data of a column have none and replicates have some. A statistic is off if its
    effect :math:`d` is large and its distance, in standard deviations of the replicates, is
    significant against the maximum of these distances over all statistics, whatever their
    dependence and number.

    Data that are binarised anew in every batch are a draw already, and compared as they are. The
    multinomial is a distribution given the total of a row, so the totals of replicates are those
    of the data.

    Args:
        autoencoder: The model; the guide is used only by a VampPrior.
        batch: The data.
        replicates: Number of data sets to draw.

    Raises:
        SpecError: The model has no distribution of the data.
        DataError: Fewer than two data, or too few replicates for a tail probability of 0.05.

    References:
        Box (1980), *Sampling and Bayes' Inference in Scientific Modelling and Robustness*, for
        the prior predictive; Bayarri and Berger (2000), *P Values for Composite Null Models*, on
        the double use of data; Westfall and Young (1993), *Resampling-Based Multiple Testing*.
    """
    batch = Batch.of(batch)
    if len(batch) < 2:
        raise DataError(f"predictive checks need at least 2 data, here {len(batch)}")
    if replicates < FEWEST_REPLICATES:
        raise DataError(
            f"predictive checks need at least {FEWEST_REPLICATES} replicates, here {replicates}"
        )
    with evaluating(autoencoder, batch.device):
        first = _replicate(autoencoder, batch[: chunks.codes(batch.device)])
        kinds = {name: kind_of(batch.variables[name], drawn) for name, drawn in first.items()}
        observed = _of_the_set(batch, kinds, lambda part: part.variables)
        drawn = [
            _of_the_set(batch, kinds, lambda part: _replicate(autoencoder, part))
            for _ in range(replicates)
        ]
    return compare(
        observed,
        Moments(
            observed.names,
            torch.stack([moments.mean for moments in drawn]),
            torch.stack([moments.variance for moments in drawn]),
        ),
    )


def compare(observed: Moments, replicated: Moments) -> Predictive:
    """Compare a data set with replicates, without statistics that are the same in all sets."""
    told = (replicated.mean != observed.mean).any(0)
    names = [name for name, tells in zip(observed.names, told.tolist(), strict=True) if tells]
    own, others = observed.mean[told], replicated.mean[:, told]
    variance = (observed.variance[told] + replicated.variance[:, told].mean(0)) / 2
    tail, adjusted = tail_probabilities(own, others)
    effect = (own - others.mean(0)) / variance.sqrt()
    return Predictive(names, own, others, effect, tail, adjusted)


def tail_probabilities(observed: Tensor, replicated: Tensor) -> tuple[Tensor, Tensor]:
    r"""Two-sided tail probabilities, raw and adjusted for all statistics, ``(statistics,)`` each.

    .. math::
        p_k = 2 \min_{\pm} \frac{1 + \#\{r : \pm T_{rk} \ge \pm T_k\}}{R + 1}, \qquad
        p_k^\text{adjusted} = \frac{1 + \#\{r : \max_l |u_{rl}| \ge |u_k|\}}{R + 1}

    :math:`u` are the statistics less their mean and in standard deviations, both over replicates
    and data together: if the data are from the model, all R + 1 sets are exchangeable, and both
    probabilities are exact.

    Args:
        observed: ``(statistics,)``.
        replicated: ``(replicates, statistics)``.
    """
    count = len(replicated) + 1
    above = (replicated >= observed).sum(0) + 1
    below = (replicated <= observed).sum(0) + 1
    tail = (2 * torch.minimum(above, below).double() / count).clamp(max=1)
    together = torch.cat([observed[None], replicated])
    centred = together - together.mean(0)
    distance = centred.abs() / centred.square().mean(0).sqrt()
    largest = distance[1:].amax(1) if len(observed) else distance.new_zeros(count - 1)
    adjusted = ((largest[:, None] >= distance[0]).sum(0) + 1) / count
    return tail, adjusted.double()


def _of_the_set(
    batch: Batch, kinds: Mapping[str, Kind], change: Callable[[Batch], Mapping[str, Tensor]]
) -> Moments:
    """Moments of the variables after a change that is made chunk by chunk."""
    parts = [_numbers(change(part), kinds) for part in batch.split(chunks.codes(batch.device))]
    return moments({name: torch.cat([part[name] for part in parts]).cpu() for name in parts[0]})


def _numbers(data: Mapping[str, Tensor], kinds: Mapping[str, Kind]) -> dict[str, Tensor]:
    """Numbers per observation of several variables."""
    found: dict[str, Tensor] = {}
    for variable, kind in kinds.items():
        found |= per_datum(data[variable], kind, variable)
    return found


def _replicate(autoencoder: Autoencoder, batch: Batch) -> dict[str, Tensor]:
    """Draw as many data from the model as there are in a batch, by variable."""
    drawn = simulate(autoencoder, batch)
    return {name: drawn.batch.variables[name] for name in drawn.drawn}
