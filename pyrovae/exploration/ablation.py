"""Ablation of the KL: the same network under weaker and stronger regularisation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pyrovae.data import Splits
from pyrovae.data.examples import evenly, pairs_of_data
from pyrovae.errors import SpecError
from pyrovae.evaluation.batches import observations
from pyrovae.evaluation.latent_use import latent_use
from pyrovae.evaluation.results import Number, Variable, percent
from pyrovae.exploration.completeness import Samples, Share, sample_both
from pyrovae.exploration.interpolation import interpolate
from pyrovae.exploration.latent_space import LatentSpace
from pyrovae.exploration.rate_distortion import Mean, rate_and_distortion
from pyrovae.exploration.result import Result
from pyrovae.programs.arguments import (
    options_checked,
    require_inference,
    require_models,
    require_splits,
)
from pyrovae.programs.autoencoder import Autoencoder
from pyrovae.programs.given_values import all_numbers, as_count
from pyrovae.specs import InferenceSpec
from pyrovae.specs.guides import DeltaGuideSpec, VonMisesFisherGuideSpec
from pyrovae.specs.inference import ConstantBetaSpec
from pyrovae.specs.objectives import ELBOSpec

AUTOENCODER = "autoencoder"
BETAS = (0.1, 1.0, 20.0)
# Of the training data, for the aggregated posterior; of the test data, for the plane.
MOST_DATA, MOST_CODES = 5000, 2000
# Lines between two data over which steps are averaged, and points on each.
LINES, POINTS = 100, 11
# Of these, so many are kept to be shown.
SHOWN = 3
SAMPLES = 16


class Column(NamedTuple):
    """One of the models of an ablation.

    Attributes:
        codes: Means of q(z | x) of test data, ``(data, dims)``.
        samples: Latents of the prior and of the training data, and where they differ.
        paths: Means of p(x | z) on straight lines between the latents of a few pairs of test data,
            ``(pairs, points, *shape)``.
        reconstruction: Mean over test data of E_q log p(x | z), in nats.
        kl: Mean of KL(q(z | x), p(z)) in nats; None where the guide is a point.
        elbo: The bound at β = 1 in nats; None where the guide is a point.
        active: Number of latent dimensions whose mean varies with the data.
        dims: Number of latent dimensions.
        largest_step: On a hundred such lines, the largest step of the mean of p(x | z) over the
            mean of its steps; 1 on a line that moves evenly.
    """

    codes: Tensor
    samples: Samples
    paths: Tensor
    reconstruction: Mean
    kl: Mean | None
    elbo: Mean | None
    active: int
    dims: int
    largest_step: Mean

    @property
    def holes(self) -> Share:
        """Draws of the prior where the aggregated posterior has no mass."""
        return self.samples.holes

    @property
    def missed(self) -> Share:
        """Latents of training data where the prior has no mass."""
        return self.samples.missed


@dataclass(frozen=True, eq=False, repr=False)
class Ablation(Result):
    """The same network under several strengths of regularisation.

    Attributes:
        columns: Results by the name of the model.
        labels: Classes of the test data whose latents are kept, ``(data,)``, if there are any.
        ends: The pairs of test data that the lines join, ``(pairs, 2, *shape)``.
    """

    columns: dict[str, Column]
    labels: Tensor | None
    ends: Tensor

    name = "ablation"
    title = "Ablation of the KL"

    def summary(self) -> str:
        return "; ".join(_in_words(name, column) for name, column in self.columns.items()) + "."

    def numbers(self) -> list[Number]:
        return [
            number._replace(name=f"{number.name}, {name}")
            for name, column in self.columns.items()
            for number in _numbers(column)
        ]

    def variables(self) -> dict[str, Variable]:
        columns = self.columns.values()
        found = {
            "model": Variable(("model",), np.array(list(self.columns)), "the models' names"),
            "codes": Variable(
                ("model", "obs", "latent"),
                torch.stack([column.codes for column in columns]).numpy(),
                "means of q(z | x) of test data",
            ),
        }
        if self.labels is not None:
            found["labels"] = Variable(("obs",), self.labels.numpy(), "their classes")
        return found


def variants(spec: InferenceSpec, betas: Sequence[float] = BETAS) -> dict[str, InferenceSpec]:
    """The plain autoencoder, and the autoencoder's own guide under each β.

    All have the same encoder, seed, optimiser and budget, the plain ELBO as objective, and no
    early stopping, which would use the ELBO at β = 1 whatever is optimised.

    Args:
        spec: Inference specification that the variants start from.
        betas: Weights of the KL, all of them positive.

    Raises:
        SpecError: The guide is a point already, or on the sphere, or some β is not positive or
            named twice.

    Example:
        >>> list(variants(InferenceSpec()))
        ['autoencoder', 'β = 0.1', 'β = 1', 'β = 20']
    """
    require_inference("variants(inference)", spec)
    if isinstance(spec.guide, DeltaGuideSpec):
        raise SpecError(
            "inference.guide.kind = 'delta' is the plain autoencoder already and has no KL to be "
            "weighted: choose inference.guide.kind 'diagonal'"
        )
    if isinstance(spec.guide, VonMisesFisherGuideSpec):
        raise SpecError(
            "inference.guide.kind = 'von_mises_fisher' puts latents on the sphere, where the "
            "plain autoencoder's do not lie: choose inference.guide.kind 'diagonal' and "
            "model.prior.kind 'normal'"
        )
    if (
        not all_numbers(betas)
        or not all(beta > 0 for beta in betas)
        or len(set(betas)) < len(betas)
    ):
        raise SpecError(f"betas = {betas!r} must be positive and different, such as 0.1, 1, 20")
    same = spec.model_copy(update={"objective": ELBOSpec(), "early_stopping": None})
    plain = {
        "guide": DeltaGuideSpec(encoder=spec.guide.encoder),
        "beta": ConstantBetaSpec(value=0),
    }
    found = {AUTOENCODER: same.model_copy(update=plain)}
    for beta in betas:
        weight = {"beta": ConstantBetaSpec(value=beta)}
        found[f"β = {beta:g}"] = same.model_copy(update=weight)
    return found


@options_checked
def ablate(models: Mapping[str, Autoencoder], data: Splits, *, samples: int = SAMPLES) -> Ablation:
    """Evaluate each model: latents, interpolations, samples and numbers.

    Numbers are of test data; the aggregated posterior is that of (up to 5000) training data.

    Args:
        models: Fitted autoencoders by name, such as those of :func:`variants`.
        data: Splits, as loaded or as the models see them.
        samples: Latents drawn from the prior that are decoded.

    Raises:
        DataError: There are fewer than 50 training data, or fewer than 20 test data.
        SpecError: There is no model, something is none, or latents cannot be moved along a line.
    """
    require_models("ablate(models, data)", models)
    require_splits("ablate(models, data)", data)
    samples = as_count("ablate", samples, "samples")
    data = next(iter(models.values())).contract.apply(data)
    index = evenly(data.test, min(len(data.test), MOST_CODES))
    pairs = pairs_of_data(data.test, LINES)
    columns = {
        name: _column(autoencoder, data, index, pairs, samples)
        for name, autoencoder in models.items()
    }
    labels, shown = data.test.label(index), pairs[:SHOWN]
    return Ablation(
        columns,
        None if labels is None else labels.cpu(),
        observations(data.test, shown.flatten()).x.cpu().unflatten(0, shown.shape),
    )


def _column(
    autoencoder: Autoencoder, data: Splits, index: Tensor, pairs: Tensor, samples: int
) -> Column:
    device = autoencoder.device
    covered = evenly(data.train, min(len(data.train), MOST_DATA))
    train = observations(data.train, covered).to(device)
    test = observations(data.test, index).to(device)
    space = LatentSpace(autoencoder, test)
    parts = rate_and_distortion(autoencoder, data.test)
    distortion = parts.mean_distortion
    point = parts.kind == "point"
    ends = observations(data.test, pairs.flatten()).to(device)
    lines = interpolate(autoencoder, ends, pairs=len(pairs), steps=POINTS)
    unevenness = torch.from_numpy(lines.unevenness[0])  # NaN where nothing moves
    return Column(
        codes=space.encode(test),
        samples=sample_both(autoencoder, train, count=max(samples, 1)),
        paths=lines.images[0, :SHOWN].clone(),
        reconstruction=Mean(-distortion.value, distortion.error),
        kl=None if point else parts.mean_rate,
        elbo=None if point else parts.mean_elbo,
        active=int(latent_use(autoencoder, test).varies.sum()),
        dims=space.dims,
        largest_step=Mean.of(unevenness[unevenness.isfinite()]),
    )


def _numbers(column: Column) -> list[Number]:
    found = [
        Number(
            "reconstruction",
            column.reconstruction.value,
            "nats",
            "mean of log p(x | z) at a latent drawn for each test observation",
            error=column.reconstruction.error,
        )
    ]
    if column.kl is not None and column.elbo is not None:
        found += [
            Number(
                "KL",
                column.kl.value,
                "nats",
                "mean over test data of KL(q(z | x), p(z))",
                error=column.kl.error,
            ),
            Number(
                "ELBO",
                column.elbo.value,
                "nats",
                "reconstruction less KL, at β = 1 whatever was optimised",
                error=column.elbo.error,
            ),
        ]
    return [
        *found,
        Number(
            "active dimensions",
            float(column.active),
            "dimensions",
            f"of {column.dims}, whose mean varies by 0.01 of the prior's variance or more",
            "Burda et al. (2016), arXiv:1509.00519",
        ),
        *column.samples.numbers(),
        Number(
            "largest step",
            column.largest_step.value,
            "",
            "of p(x | z)'s mean along a straight line between two test data, over the mean step: "
            f"{POINTS - 1} steps, mean over lines",
            error=column.largest_step.error,
        ),
    ]


def _in_words(name: str, column: Column) -> str:
    kl = "no KL" if column.kl is None else f"KL {column.kl.value:.1f}"
    return (
        f"{name}: reconstruction {column.reconstruction.value:.1f} nats, {kl}, "
        f"{percent(column.missed.value)} of the data out of the prior's reach, "
        f"{percent(column.holes.value)} of its draws in holes"
    )
