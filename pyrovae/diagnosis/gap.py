"""Decomposition of the inference gap into approximation and amortisation gap."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from pyrovae.compute.distributed import ALONE, Processes
from pyrovae.compute.modes import evaluating
from pyrovae.data import Batch
from pyrovae.diagnosis.richer_families import richer_than
from pyrovae.errors import DataError
from pyrovae.evaluation.importance import standard_error
from pyrovae.evaluation.refinement import (
    DRAWS,
    STEPS,
    RefinedPosterior,
    batch_size,
    encoded_guide,
)
from pyrovae.evaluation.results import Check, Number, Variable, Verdict, grade, worse
from pyrovae.evaluation.sharing import shared
from pyrovae.programs.autoencoder import Autoencoder

# Draws to measure the refined member.
TO_MEASURE = 1000
# Our own: models of one data set often differ by as little as this.
WARN, FAIL = 0.5, 2.0
CREMER = "Cremer, Li and Duvenaud (2018), arXiv:1801.03558"
BETTER_ENCODER = (
    "the encoder costs most: a larger inference.guide.encoder, more data, or an earlier end of "
    "training if the gap of the training data is much smaller"
)
BETTER_EVIDENCE = (
    "the best member's ELBO, a lower bound, is above the estimate of log p(x), which is too low: "
    "estimate it from more draws, or by annealing"
)


@dataclass(frozen=True, eq=False, repr=False)
class Gap(Check):
    """Inference gap of each observation and its two parts, in nats; float64 ``(data,)``, CPU.

    Attributes:
        gap: log p(x) - ELBO.
        approximation: log p(x) - ELBO of the best member of the family.
        amortisation: The ELBO of that member - that of the encoder's.
        kept: Whether no member was found that is better than the encoder's; then
            ``amortisation`` is 0.
        richer: Advice if the family costs most, a clause.
    """

    question = "inference gap"

    gap: Tensor
    approximation: Tensor
    amortisation: Tensor
    kept: Tensor
    richer: str

    def verdict(self) -> Verdict:
        """Grade of the mean gap; the advice follows from the larger part."""
        gap, gap_error = _estimate(self.gap)
        family, family_error = _estimate(self.approximation)
        encoder, encoder_error = _estimate(self.amortisation)
        finding = (
            f"{gap:.2f} ± {gap_error:.2f} nats = approximation {family:.2f} ± {family_error:.2f} "
            f"+ amortisation {encoder:.2f} ± {encoder_error:.2f}"
        )
        result = grade(gap, WARN, FAIL)
        if family < -2 * family_error - 0.01:  # nats; below that an exact guide's rounding
            return Verdict(worse(result, "WARN"), finding, BETTER_EVIDENCE)
        if result == "ok":
            return Verdict(result, finding)
        family_costs_most = (
            f"the family of the guide costs most: {self.richer} can come closer to the posteriors"
        )
        return Verdict(result, finding, family_costs_most if family > encoder else BETTER_ENCODER)

    def numbers(self) -> list[Number]:
        """Means over the data, with the standard errors of these."""
        rows = [
            (
                "inference gap",
                self.gap,
                "log p(x) - ELBO, mean over the data; too small by what log p(x) is "
                "underestimated",
            ),
            (
                "approximation gap",
                self.approximation,
                "log p(x) - ELBO of the best member of the guide's family for each observation, "
                "found by local re-optimisation: of a local optimum, so at most this",
            ),
            (
                "amortisation gap",
                self.amortisation,
                "ELBO of the best member of the guide's family for each observation - ELBO of "
                "the encoder's; at least this",
            ),
        ]
        numbers = []
        for name, values, definition in rows:
            mean, error = _estimate(values)
            numbers.append(Number(name, mean, "nats", definition, CREMER, error))
        kept = Number(
            "best member is the encoder's",
            self.kept.double().mean().item(),
            "fraction",
            "data for which re-optimisation found no better member than the encoder did, by draws "
            "of their own; their amortisation gap counts as 0",
        )
        return [*numbers, kept]

    def variables(self) -> dict[str, Variable]:
        """The gap and its two parts, per observation."""
        described = {
            "gap": (self.gap, "log p(x) - ELBO, in nats"),
            "approximation_gap": (
                self.approximation,
                "log p(x) - ELBO of the best member of the guide's family, in nats",
            ),
            "amortisation_gap": (
                self.amortisation,
                "ELBO of the best member of the guide's family - ELBO, in nats",
            ),
        }
        return {
            name: Variable(("obs",), values.numpy(), description)
            for name, (values, description) in described.items()
        }


def gradients(obs: int) -> int:
    """Cost of the check: number of latents through which a gradient is taken."""
    return STEPS * DRAWS * obs


def check_gap(
    autoencoder: Autoencoder,
    batch: Batch | Tensor,
    elbo: Tensor,
    log_prob: Tensor,
    processes: Processes = ALONE,
) -> Gap:
    r"""Decompose the inference gap of each observation into the parts of family and encoder.

    .. math::
        \underbrace{\log p(x) - \mathcal{L}(q)}_{\text{inference gap}} =
        \underbrace{\log p(x) - \mathcal{L}(q^*)}_{\text{approximation}} +
        \underbrace{\mathcal{L}(q^*) - \mathcal{L}(q)}_{\text{amortisation}}, \qquad
        q^* = \operatorname{arg\,max}_{q \in \mathcal{Q}} \mathcal{L}(q)

    The model stays as it is, a VampPrior with the guide that it was fitted with. The ELBO is
    that at β = 1.

    In the family :math:`\mathcal{Q}`, the outputs of the heads on top of the encoder are free
    parameters of each observation (:func:`pyrovae.evaluation.refinement.freed`): every normal of
    the guide's covariance structure, every Laplace, every mixture of as many normals, every von
    Mises–Fisher distribution. Location, scale and context of a flow are free; the weights of its
    networks remain shared by all data.
    The member is found by Adam from the encoder's, so it is a local optimum: the approximation
    gap is at most what is reported, and for a mixture or a flow it may be less.

    Separate draws decide whether that member is better than the encoder's, which is kept where
    it is not; further draws measure the ELBO, so that neither the fit nor the choice is biased by
    its own draws. Sampling error is in the standard errors, and may make parts that are zero a
    little negative.

    Args:
        autoencoder: Model and guide, made of parts.
        batch: The data.
        elbo: ELBO of the guide, per observation ``(data,)``.
        log_prob: log p(x), or the best estimate of it, ``(data,)``.
        processes: The processes that call this together and share the data; all have the result,
            which does not depend on their number.

    Raises:
        SpecError: The guide is a point, or has no encoder that could be freed.
        DataError: Fewer than two data.

    References:
        Cremer, Li and Duvenaud (2018), *Inference Suboptimality in Variational Autoencoders*,
        arXiv:1801.03558.
    """
    guide = encoded_guide(autoencoder)
    if len(batch) < 2:
        raise DataError(f"the inference gap needs at least 2 data, here {len(batch)}")
    work = partial(_refine, autoencoder)
    with evaluating(autoencoder, batch.device):
        split = Batch.of(batch).split(batch_size(batch.device))
        parts = shared(split, work, batch.device, processes)
    refined, kept = (torch.cat(column) for column in zip(*parts, strict=True))
    elbo, log_prob = elbo.double().cpu(), log_prob.double().cpu()
    best = torch.where(kept, elbo, refined)
    return Gap(log_prob - elbo, log_prob - best, best - elbo, kept, richer_than(guide))


def _refine(autoencoder: Autoencoder, batch: Batch) -> tuple[Tensor, Tensor]:
    """ELBOs of the best members for a few data, and where the encoder's is no worse."""
    local = RefinedPosterior(autoencoder, batch)
    kept = local.refine(STEPS)
    return local.mean_elbo(TO_MEASURE).cpu(), kept.cpu()


def _estimate(values: Tensor) -> tuple[float, float]:
    """The mean and its standard error."""
    return values.mean().item(), standard_error(values).item()
