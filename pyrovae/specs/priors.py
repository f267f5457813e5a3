"""What may be written under ``prior`` of a model: p(z)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from pyrovae.specs.base import Spec


class NormalPriorSpec(Spec):
    """Standard normal."""

    kind: Literal["normal"] = "normal"


class MixturePriorSpec(Spec):
    """Learned mixture of diagonal Gaussians."""

    kind: Literal["mixture"] = "mixture"
    components: PositiveInt = 10


class VampPriorSpec(Spec):
    """Mixture of the guide at learned pseudo-inputs."""

    kind: Literal["vamp"] = "vamp"
    pseudo_inputs: PositiveInt = 100


class HypersphericalPriorSpec(Spec):
    """Uniform on the sphere."""

    kind: Literal["hyperspherical"] = "hyperspherical"


PriorSpec = Annotated[
    NormalPriorSpec | MixturePriorSpec | VampPriorSpec | HypersphericalPriorSpec,
    Field(discriminator="kind"),
]
