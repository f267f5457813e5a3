"""Agreements of guide and posterior, as ``run.json`` has them."""

from __future__ import annotations

from pyrovae.diagnosis.agreement import Agreement
from pyrovae.evaluation.divergence import Divergence
from pyrovae.runs.facts import GuideFacts


def facts_of(found: Agreement) -> GuideFacts:
    """An agreement for ``run.json``."""
    return GuideFacts(
        divergence=found.divergence.nats,
        divergence_error=found.divergence.error,
        coverage=found.coverage,
        calibrated=found.calibrated,
    )


def agreement_of(facts: GuideFacts) -> Agreement:
    """An agreement from ``run.json``."""
    divergence = Divergence(facts.divergence, facts.divergence_error)
    return Agreement(divergence, facts.coverage, facts.calibrated)
