"""What may be written under ``likelihood`` of a model: p(x | z)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from pyrovae.specs.base import Spec

Noise = Literal["fixed", "learned", "per_pixel"]


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
