"""Keys of ``likelihood`` of a model: p(x | z)."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from pyrovae.specs.base import Count, Size, Spec
from pyrovae.specs.own import BY_KIND, OwnSpec

SCALE_FLOOR = 1e-5
"""Smallest scale of a density, that of :mod:`pyrovae.parts.distributions.positive`."""

Noise = Literal["fixed", "learned", "per_variable", "per_pixel"]
Scale = Annotated[float, Field(gt=SCALE_FLOOR, le=1e30)] | Literal["data"]
Interval = Literal["counts", "unit", "open_unit"]
"""Scale that a likelihood needs for intensities 0..m: as they are, [0, 1], or inside (0, 1)."""


class AutoLikelihoodSpec(Spec):
    """The likelihood that suits the data: see :func:`pyrovae.specs.resolve.choose_likelihood`."""

    interval: ClassVar[Interval] = "counts"

    kind: Literal["auto"] = "auto"


class BernoulliLikelihoodSpec(Spec):
    """Binary data."""

    interval: ClassVar[Interval] = "counts"

    kind: Literal["bernoulli"] = "bernoulli"


class BinomialLikelihoodSpec(Spec):
    """Counts out of ``total_count``; "data" takes the largest intensity of the data."""

    interval: ClassVar[Interval] = "counts"

    kind: Literal["binomial"] = "binomial"
    total_count: Count | Literal["data"] = "data"


class ContinuousBernoulliLikelihoodSpec(Spec):
    """Values in [0, 1], mostly near its ends."""

    interval: ClassVar[Interval] = "unit"

    kind: Literal["continuous_bernoulli"] = "continuous_bernoulli"


class BetaLikelihoodSpec(Spec):
    """Values strictly between 0 and 1."""

    interval: ClassVar[Interval] = "open_unit"

    kind: Literal["beta"] = "beta"


class NormalLikelihoodSpec(Spec):
    """Real-valued data; ``scale`` is the initial noise, or the noise when ``fixed``.

    With "data", noise is ``per_variable`` in tables and one ``learned`` number in images, and
    starts at the data's scale, or three tenths of it in images.
    """

    interval: ClassVar[Interval] = "unit"

    kind: Literal["normal"] = "normal"
    noise: Noise | Literal["data"] = "data"
    scale: Scale = "data"


class LaplaceLikelihoodSpec(Spec):
    """Real-valued data with outliers; ``noise`` and ``scale`` as for the normal."""

    interval: ClassVar[Interval] = "unit"

    kind: Literal["laplace"] = "laplace"
    noise: Noise | Literal["data"] = "data"
    scale: Scale = "data"


class CategoricalLikelihoodSpec(Spec):
    """Grey levels 0..``levels``, a probability for each; "data" takes the largest intensity."""

    interval: ClassVar[Interval] = "counts"

    kind: Literal["categorical"] = "categorical"
    levels: Size | Literal["data"] = "data"


class DiscretizedLogisticLikelihoodSpec(Spec):
    """Grey levels 0..``levels`` around a location.

    Noise starts at ``scale`` × ``levels``; "data" takes the scale of the data.
    """

    interval: ClassVar[Interval] = "counts"

    kind: Literal["discretized_logistic"] = "discretized_logistic"
    levels: Size | Literal["data"] = "data"
    noise: Literal["learned", "per_pixel"] = "learned"
    scale: Scale = "data"


class PoissonLikelihoodSpec(Spec):
    """Counts without an upper bound whose variance is their mean."""

    interval: ClassVar[Interval] = "counts"

    kind: Literal["poisson"] = "poisson"


class NegativeBinomialLikelihoodSpec(Spec):
    """Counts without an upper bound, more variable than Poisson's."""

    interval: ClassVar[Interval] = "counts"

    kind: Literal["negative_binomial"] = "negative_binomial"


class MultinomialLikelihoodSpec(Spec):
    """Rows of counts given their total, such as bags of words.

    Samples have ``total_count`` words; "data" takes the mean total of the training data.
    """

    interval: ClassVar[Interval] = "counts"

    kind: Literal["multinomial"] = "multinomial"
    total_count: Count | Literal["data"] = "data"


class DirichletMultinomialLikelihoodSpec(Spec):
    """Rows of counts given their total that vary more than a multinomial, such as cells.

    ``total_count`` as for the multinomial.
    """

    interval: ClassVar[Interval] = "counts"

    kind: Literal["dirichlet_multinomial"] = "dirichlet_multinomial"
    total_count: Count | Literal["data"] = "data"


class OwnLikelihoodSpec(OwnSpec):
    """A subclass of :class:`pyrovae.parts.likelihoods.Likelihood`; may take ``shape``."""

    interval: Interval = "counts"


LikelihoodSpec = Annotated[
    AutoLikelihoodSpec
    | BernoulliLikelihoodSpec
    | BinomialLikelihoodSpec
    | ContinuousBernoulliLikelihoodSpec
    | BetaLikelihoodSpec
    | NormalLikelihoodSpec
    | LaplaceLikelihoodSpec
    | CategoricalLikelihoodSpec
    | DiscretizedLogisticLikelihoodSpec
    | PoissonLikelihoodSpec
    | NegativeBinomialLikelihoodSpec
    | MultinomialLikelihoodSpec
    | DirichletMultinomialLikelihoodSpec
    | OwnLikelihoodSpec,
    BY_KIND,
]
