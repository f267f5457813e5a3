"""Keys of ``prior`` of a model: p(z)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pyrovae.specs.base import Few, Size, Spec
from pyrovae.specs.networks import Widths
from pyrovae.specs.own import BY_KIND, OwnSpec

FlowTransform = Literal["spline", "autoregressive"]


class NormalPriorSpec(Spec):
    """Standard normal, or diagonal normal with learned location and scale."""

    kind: Literal["normal"] = "normal"
    learned: bool = False


class LaplacePriorSpec(Spec):
    """Independent Laplace variables, standard or with learned location and scale."""

    kind: Literal["laplace"] = "laplace"
    learned: bool = False


class StudentTPriorSpec(Spec):
    """Independent Student's t variables, standard or with learned location and scale."""

    kind: Literal["student_t"] = "student_t"
    df: Annotated[float, Field(ge=1e-3, le=1e6)] = 5.0
    learned: bool = False


class MixturePriorSpec(Spec):
    """Learned mixture of diagonal Gaussians."""

    kind: Literal["mixture"] = "mixture"
    components: Size = 10


class FlowPriorSpec(Spec):
    """Normal noise through a normalizing flow, which starts as the identity."""

    kind: Literal["flow"] = "flow"
    transform: FlowTransform = "spline"
    layers: Few = 3
    widths: Widths = (64, 64)


class VampPriorSpec(Spec):
    """Mixture of the guide at learned pseudo-inputs."""

    kind: Literal["vamp"] = "vamp"
    pseudo_inputs: Size = 100


class HypersphericalPriorSpec(Spec):
    """Uniform on the sphere."""

    kind: Literal["hyperspherical"] = "hyperspherical"


class OwnPriorSpec(OwnSpec):
    """A subclass of :class:`pyrovae.parts.priors.Prior`; may take ``latent_dim``."""


PriorSpec = Annotated[
    NormalPriorSpec
    | LaplacePriorSpec
    | StudentTPriorSpec
    | MixturePriorSpec
    | FlowPriorSpec
    | VampPriorSpec
    | HypersphericalPriorSpec
    | OwnPriorSpec,
    BY_KIND,
]
