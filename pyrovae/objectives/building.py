"""Construction of an objective from its specification, where it applies."""

from __future__ import annotations

from typing import Any, assert_never

from pyrovae.data import Batch
from pyrovae.errors import SpecError
from pyrovae.objectives.abstract import Objective
from pyrovae.objectives.capacity import CapacityELBO
from pyrovae.objectives.elbo import AnalyticELBO, SampledELBO
from pyrovae.objectives.enumerated import EnumeratedELBO
from pyrovae.objectives.free_bits import FreeBitsELBO
from pyrovae.objectives.mmd import MMDObjective
from pyrovae.objectives.renyi import RenyiBound
from pyrovae.objectives.requirements import check, find_obstacle, pairs
from pyrovae.objectives.total_correlation import TotalCorrelationELBO
from pyrovae.programs.autoencoder import Autoencoder
from pyrovae.specs.objectives import (
    CapacitySpec,
    ELBOSpec,
    EnumeratedSpec,
    FreeBitsSpec,
    IWAESpec,
    MMDSpec,
    ObjectiveSpec,
    OwnObjectiveSpec,
    RenyiSpec,
    TotalCorrelationSpec,
)
from pyrovae.specs.own import own_part


def build_objective(
    spec: ObjectiveSpec, autoencoder: Autoencoder, batch: Batch, data_size: int = 1
) -> Objective:
    """Build the objective that a specification declares, for these programs.

    Args:
        spec: The specification.
        autoencoder: Model and guide; both run once.
        batch: A few observations, on the programs' device.
        data_size: Number of training data.

    Raises:
        SpecError: It does not apply to these programs; names guide, prior and reason.
    """
    objective = _build(spec, autoencoder, batch, data_size)
    asked = f"inference.objective.kind = '{spec.kind}'"
    if isinstance(spec, ELBOSpec) and spec.kl == "analytic":
        asked = "inference.objective.kl = 'analytic'"
    check(asked, objective.needs, autoencoder, batch)
    return objective


def _build(
    spec: ObjectiveSpec, autoencoder: Autoencoder, batch: Batch, data_size: int
) -> Objective:
    options: dict[str, Any] = {"num_particles": spec.particles}
    if spec.particles > 1 and autoencoder.vectorisable:
        options |= {"max_plate_nesting": 1, "vectorize_particles": True}
    match spec:
        case ELBOSpec():
            analytic = spec.kl == "analytic" or (
                spec.kl == "auto" and _analytic(autoencoder, batch)
            )
            return AnalyticELBO(**options) if analytic else SampledELBO(**options)
        case EnumeratedSpec():
            return EnumeratedELBO(**options)
        case IWAESpec():
            return RenyiBound(alpha=0.0, gradient=spec.gradient, **options)
        case RenyiSpec():
            return RenyiBound(alpha=spec.alpha, gradient=spec.gradient, **options)
        case FreeBitsSpec():
            return FreeBitsELBO(nats=spec.nats, groups=spec.groups, **options)
        case CapacitySpec():
            return CapacityELBO(
                capacity=spec.capacity, warmup_epochs=spec.warmup_epochs, **options
            )
        case TotalCorrelationSpec():
            return TotalCorrelationELBO(
                data_size=data_size,
                mutual_information=spec.mutual_information,
                dimension_wise=spec.dimension_wise,
                **options,
            )
        case MMDSpec():
            return MMDObjective(weight=spec.weight, **options)
        case OwnObjectiveSpec():
            found = own_part(spec, "inference.objective", Objective, **options)
            if found.num_particles != spec.particles:
                raise SpecError(
                    f"inference.objective.particles = {spec.particles}, and {spec.kind} takes no "
                    "num_particles: take it, and pass it on by super().__init__"
                )
            return found
        case _:
            assert_never(spec)


def _analytic(autoencoder: Autoencoder, batch: Batch) -> bool:
    """Return True if every KL has a differentiable closed form."""
    return find_obstacle(AnalyticELBO.needs, pairs(autoencoder, batch)) is None
