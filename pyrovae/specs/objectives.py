"""Keys of ``objective`` of an inference."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from pyrovae.specs.base import NonNegative, Positive, Spec
from pyrovae.specs.own import BY_KIND, OwnSpec

Gradient = Literal["plain", "stl", "dreg"]
Particles = Annotated[int, Field(gt=0, le=10**4)]
Groups = Literal["dimensions", "site"]


class ParticlesSpec(Spec):
    """Key common to all objectives: the number of latents drawn for each observation."""

    particles: Particles = 1


class ELBOSpec(ParticlesSpec):
    """Evidence lower bound; KL closed-form, sampled, or closed-form where one exists ("auto")."""

    kind: Literal["elbo"] = "elbo"
    kl: Literal["auto", "analytic", "sampled"] = "auto"


class EnumeratedSpec(ParticlesSpec):
    """ELBO with the guide's discrete latents summed exactly (``TraceEnum_ELBO``)."""

    kind: Literal["enumerated"] = "enumerated"


class IWAESpec(ParticlesSpec):
    """Importance-weighted bound (Burda et al. 2016)."""

    kind: Literal["iwae"] = "iwae"
    particles: Particles = 5
    gradient: Gradient = "plain"


class RenyiSpec(ParticlesSpec):
    """Rényi bound of order ``alpha`` (Li and Turner 2016)."""

    kind: Literal["renyi"] = "renyi"
    particles: Particles = 5
    gradient: Gradient = "plain"
    alpha: Annotated[float, Field(ge=-1e6, le=1e6)] = 0.5

    @field_validator("alpha")
    @classmethod
    def _not_one(cls, alpha: float) -> float:
        if alpha == 1:
            raise ValueError("the bound of order 1 is the ELBO; choose objective.kind 'elbo'")
        return alpha


class FreeBitsSpec(ParticlesSpec):
    """ELBO whose KL is free below ``nats`` in each group (Kingma et al. 2016)."""

    kind: Literal["free_bits"] = "free_bits"
    nats: Positive = 0.5
    groups: Groups = "dimensions"


class CapacitySpec(ParticlesSpec):
    """Reconstruction with the KL held at ``capacity`` nats (Burgess et al. 2018); β is their γ."""

    kind: Literal["capacity"] = "capacity"
    capacity: NonNegative = 25.0
    warmup_epochs: Positive = 50.0


class TotalCorrelationSpec(ParticlesSpec):
    """β on the total correlation, these weights on the rest of the KL (Chen et al. 2018)."""

    kind: Literal["tc"] = "tc"
    mutual_information: NonNegative = 1.0
    dimension_wise: NonNegative = 1.0


class MMDSpec(ParticlesSpec):
    """``weight`` times the MMD of q(z) from p(z), beside β KL (Zhao et al. 2019)."""

    kind: Literal["mmd"] = "mmd"
    weight: Positive = 100.0


class OwnObjectiveSpec(OwnSpec):
    """A subclass of :class:`pyrovae.objectives.bound.Bound`; may take ``num_particles``."""

    particles: Particles = 1


ObjectiveSpec = Annotated[
    ELBOSpec
    | EnumeratedSpec
    | IWAESpec
    | RenyiSpec
    | FreeBitsSpec
    | CapacitySpec
    | TotalCorrelationSpec
    | MMDSpec
    | OwnObjectiveSpec,
    BY_KIND,
]
