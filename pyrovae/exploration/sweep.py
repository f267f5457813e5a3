"""Sweep over β: the rate-distortion curve, MIG and active dimensions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pyrovae.data import Splits
from pyrovae.data.examples import evenly
from pyrovae.errors import SpecError
from pyrovae.evaluation.batches import observations
from pyrovae.evaluation.latent_use import latent_use
from pyrovae.evaluation.results import Number, Variable
from pyrovae.exploration.ablation import MOST_CODES
from pyrovae.exploration.rate_distortion import Mean, rate_and_distortion
from pyrovae.exploration.result import Result
from pyrovae.parts.distributions.kl import Kind
from pyrovae.programs.arguments import (
    options_checked,
    require_inference,
    require_models,
    require_splits,
)
from pyrovae.programs.autoencoder import Autoencoder
from pyrovae.programs.given_values import all_numbers
from pyrovae.specs import InferenceSpec
from pyrovae.specs.guides import DeltaGuideSpec
from pyrovae.specs.inference import ConstantBetaSpec

BETAS = (0.1, 0.3, 1.0, 3.0, 10.0)

ALEMI = "Alemi et al. (2018), arXiv:1711.00464"


class Place(NamedTuple):
    """Rate and distortion of a model on test data, in nats.

    Attributes:
        rate: Mean of KL(q(z | x), p(z)).
        distortion: Mean of -E_q log p(x | z).
        elbo: Mean over observations of -(rate + distortion).
        kind: Kind of the rate, "exact" or "sampled".
        active: Number of latent dimensions whose mean varies with the data.
        dims: Number of latent dimensions.
    """

    rate: Mean
    distortion: Mean
    elbo: Mean
    kind: Kind
    active: int
    dims: int


@dataclass(frozen=True, eq=False, repr=False)
class Sweep(Result):
    """The same model under several β.

    Attributes:
        places: Rate and distortion by β, in ascending order.
        mig: Mutual information gap by β, where factors are known; None if it was not given.
    """

    places: dict[float, Place]
    mig: dict[float, float] | None

    name = "sweep"
    title = "Rate and distortion over β"

    @property
    def anchor(self) -> float:
        """The β through which the line of equal ELBO is drawn: 1, or that of the best ELBO."""
        if 1.0 in self.places:
            return 1.0
        return max(self.places, key=lambda beta: self.places[beta].elbo.value)

    def summary(self) -> str:
        low, high = min(self.places), max(self.places)
        words = []
        for beta in (low, high) if low < high else (low,):
            place = self.places[beta]
            words.append(
                f"at β = {beta:g} the guide has a rate of {place.rate.value:.1f} nats at a "
                f"distortion of {place.distortion.value:.1f}, with {place.active} of {place.dims} "
                "dimensions active"
            )
        best = max(self.places, key=lambda beta: self.places[beta].elbo.value)
        text = "; ".join(words)
        text = f"{text[0].upper()}{text[1:]}. The ELBO is largest at β = {best:g}"
        if self.mig:
            chosen = max(self.mig, key=lambda beta: self.mig_of(beta))
            text += f", the mutual information gap at β = {chosen:g} ({self.mig[chosen]:.2f})"
        return f"{text}."

    def mig_of(self, beta: float) -> float:
        """MIG at a β; NaN where it is not known."""
        return math.nan if self.mig is None else self.mig.get(beta, math.nan)

    def numbers(self) -> list[Number]:
        return [number for beta in self.places for number in self._numbers(beta)]

    def variables(self) -> dict[str, Variable]:
        places = self.places.values()
        columns = {
            "beta": (list(self.places), "weight in the objective"),
            "rate": ([p.rate.value for p in places], "mean KL(q(z | x), p(z)) in nats"),
            "rate_error": ([p.rate.error for p in places], "its standard error"),
            "distortion": ([p.distortion.value for p in places], "mean -log p(x | z) in nats"),
            "distortion_error": ([p.distortion.error for p in places], "its standard error"),
            "elbo": ([p.elbo.value for p in places], "at β = 1, in nats"),
            "elbo_error": ([p.elbo.error for p in places], "its standard error"),
            "active": ([p.active for p in places], "latent dimensions that vary with the data"),
        }
        if self.mig is not None:
            gaps = [self.mig_of(beta) for beta in self.places]
            columns["mig"] = (gaps, "mutual information gap; NaN: not known")
        return {
            name: Variable(("beta",), np.array(values), description)
            for name, (values, description) in columns.items()
        }

    def _numbers(self, beta: float) -> list[Number]:
        place, at = self.places[beta], f", β = {beta:g}"
        how = f"mean over test data of KL(q(z | x), p(z)), {place.kind}"
        found = [
            Number("rate" + at, place.rate.value, "nats", how, ALEMI, place.rate.error),
            Number(
                "distortion" + at,
                place.distortion.value,
                "nats",
                "mean of -log p(x | z) at a latent drawn for each test observation",
                ALEMI,
                place.distortion.error,
            ),
            Number(
                "ELBO" + at,
                place.elbo.value,
                "nats",
                "-(rate + distortion), whatever was optimised",
                error=place.elbo.error,
            ),
            Number(
                "active dimensions" + at,
                float(place.active),
                "dimensions",
                f"of {place.dims}, whose mean varies by 0.01 of the prior's variance or more",
                "Burda et al. (2016), arXiv:1509.00519",
            ),
        ]
        if self.mig is not None:
            what = "mutual information gap"
            reference = "Chen et al. (2018), arXiv:1802.04942"
            found.append(Number("MIG" + at, self.mig_of(beta), "", what, reference))
        return found


def variants(spec: InferenceSpec, betas: Sequence[float] = BETAS) -> dict[float, InferenceSpec]:
    """Return the same inference under each constant β, with the role it has in the objective.

    There is no early stopping, which would use the ELBO at β = 1 whatever is optimised.

    Args:
        spec: Inference specification that the variants start from.
        betas: Weights, none of them negative.

    Raises:
        SpecError: The guide is a point, which has no rate, or some β is negative or named twice.

    Example:
        >>> variants(InferenceSpec(), [1.0, 4.0])[4.0].beta
        ConstantBetaSpec(kind='constant', value=4.0)
    """
    require_inference("variants(inference)", spec)
    if isinstance(spec.guide, DeltaGuideSpec):
        raise SpecError(
            "inference.guide.kind = 'delta' is a point, whose rate has no bound: choose "
            "inference.guide.kind 'diagonal'"
        )
    if not all_numbers(betas) or not betas or not all(0 <= beta < math.inf for beta in betas):
        raise SpecError(f"betas = {betas!r} must be numbers from 0 up, such as 0.1, 1, 10")
    if len(set(betas)) < len(betas):
        raise SpecError(f"betas = {list(betas)} names a β twice: name each once")
    return {
        float(beta): spec.model_copy(
            update={"beta": ConstantBetaSpec(value=float(beta)), "early_stopping": None}
        )
        for beta in betas
    }


@options_checked
def sweep(
    models: Mapping[float, Autoencoder],
    data: Splits,
    mig: Mapping[float, float] | None = None,
) -> Sweep:
    r"""Rate and distortion of each model on test data.

    .. math::
        R = \mathbb{E}_x \operatorname{KL}(q(z \mid x), p(z)), \qquad
        D = -\mathbb{E}_x \mathbb{E}_{q(z \mid x)} \log p(x \mid z), \qquad
        \text{ELBO} = -(R + D)

    A model trained under β minimises D + β R: it lies where the curve of attainable pairs has the
    slope -β. Models on a line of slope -1 have the same ELBO.

    Args:
        models: Fitted autoencoders by β, such as those of :func:`variants`.
        data: Splits, as loaded or as the models see them.
        mig: Mutual information gap of each β, where factors are known.

    Raises:
        DataError: There are fewer than 20 test data.
        SpecError: A guide is a point, which has no rate, there is no model, or ``mig`` has a β
            that no model has; or the first argument is no dictionary of models.

    References:
        Alemi et al. (2018), *Fixing a Broken ELBO*, arXiv:1711.00464; Higgins et al. (2017),
        *β-VAE: Learning Basic Visual Concepts with a Constrained Variational Framework*, ICLR.
    """
    require_models("sweep(models, data)", models)
    require_splits("sweep(models, data)", data)
    unknown = sorted(set(mig or ()) - set(models))
    if unknown:
        raise SpecError(f"mig is given for β = {unknown[0]:g}, of which there is no model")
    data = next(iter(models.values())).contract.apply(data)
    places = {float(beta): _place(models[beta], beta, data) for beta in sorted(models)}
    return Sweep(places, None if mig is None else {float(b): float(v) for b, v in mig.items()})


def _place(autoencoder: Autoencoder, beta: float, data: Splits) -> Place:
    parts = rate_and_distortion(autoencoder, data.test)
    if parts.kind == "point":
        raise SpecError(
            f"the guide of β = {beta:g}, {autoencoder.formulas().guide}, is a point, whose rate "
            "has no bound: choose inference.guide.kind 'diagonal'"
        )
    device = autoencoder.device
    index = evenly(data.test, min(len(data.test), MOST_CODES))
    few = observations(data.test, index).to(device)
    varies = latent_use(autoencoder, few).varies
    return Place(
        parts.mean_rate,
        parts.mean_distortion,
        parts.mean_elbo,
        parts.kind,
        int(varies.sum()),
        len(varies),
    )
