"""What may be written in ``models/*.toml``: the generative model p(z) p(x | z)."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from pyrovae.specs.base import Spec
from pyrovae.specs.networks import MLPSpec, NetworkSpec

Binarisation = Literal["none", "threshold", "dynamic", "static"]
Noise = Literal["fixed", "learned", "per_pixel"]


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


PriorSpec = Annotated[
    NormalPriorSpec | MixturePriorSpec | VampPriorSpec, Field(discriminator="kind")
]


class BernoulliLikelihoodSpec(Spec):
    """Binary data."""

    kind: Literal["bernoulli"] = "bernoulli"


class BinomialLikelihoodSpec(Spec):
    """Counts out of ``total_count``; "data" takes the largest intensity of the data."""

    kind: Literal["binomial"] = "binomial"
    total_count: PositiveInt | Literal["data"] = "data"


class NormalLikelihoodSpec(Spec):
    """Real-valued data; ``scale`` is where the noise starts, or stays when ``fixed``."""

    kind: Literal["normal"] = "normal"
    noise: Noise = "learned"
    scale: PositiveFloat = 0.1


LikelihoodSpec = Annotated[
    BernoulliLikelihoodSpec | BinomialLikelihoodSpec | NormalLikelihoodSpec,
    Field(discriminator="kind"),
]


class ModelSpec(Spec):
    """The generative model, and how it wants its data."""

    section: ClassVar[str] = "model"

    latent_dim: PositiveInt = 8
    binarisation: Binarisation = "none"
    prior: PriorSpec = NormalPriorSpec()
    decoder: NetworkSpec = MLPSpec()
    likelihood: LikelihoodSpec = BinomialLikelihoodSpec()
