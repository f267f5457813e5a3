"""Debiasing: effect of resampling rare observations on them and on all others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from pyrovae.data import Dataset, Splits
from pyrovae.errors import DataError, SpecError
from pyrovae.evaluation.batches import observations
from pyrovae.evaluation.importance import standard_error
from pyrovae.evaluation.latent_means import codes
from pyrovae.evaluation.pointwise import evaluate_pointwise
from pyrovae.evaluation.results import Number, Variable, percent
from pyrovae.exploration.result import Result
from pyrovae.programs.arguments import options_checked, require_autoencoder, require_splits
from pyrovae.programs.autoencoder import Autoencoder
from pyrovae.programs.given_values import all_numbers, as_count
from pyrovae.specs import InferenceSpec
from pyrovae.specs.files import validate
from pyrovae.specs.resampling import KernelResamplingSpec, ResamplingSpec
from pyrovae.training.resampling import drawing_probabilities, expected_shares

SHOWN = 20
"""Observations shown from either end of the sampling probabilities."""

AMINI = "Amini et al. (2019), doi:10.1145/3306618.3314243"
BURDA = "Burda et al. (2016), arXiv:1509.00519"


class Difference(NamedTuple):
    """After minus before: the mean over data, and the standard error of the paired differences."""

    mean: float
    error: float

    @classmethod
    def of(cls, differences: Tensor) -> Difference:
        """Mean and standard error of differences ``(data,)``."""
        return cls(differences.mean().item(), standard_error(differences).item())

    def __str__(self) -> str:
        """In nats, with its sign."""
        return f"{self.mean:+.2f} ± {self.error:.2f}".replace("-", "−")


@dataclass(frozen=True, eq=False, repr=False)
class Debiasing(Result):
    """Two fits of a model, without and with resampling by the density of latents.

    Attributes:
        resampling: Specification of the resampling in the second fit.
        rare: Classes to compare with the others; empty if there are none.
        classes: Classes of the training data, ``(classes,)``; empty if there are no labels.
        share_before: Share of each class in the training data, and so among uniform draws.
        share_after: Expected share among the draws, by the probabilities after the second fit.
        chances: Sampling probability of each training observation, ``(data,)``, float64; the mean
            is 1 / data.
        labels: Classes of the test data that were evaluated, ``(obs,)``; empty without labels.
        log_prob: Log p(x) of these after minus before, nats ``(obs,)``; NaN where the guide is a
            point.
        reconstruction: Likewise of the mean of log p(x | z) over latents from the guide.
        log_prob_before: Log p(x) of these in the first fit, nats ``(obs,)``.
        reconstruction_before: Their reconstruction in the first fit.
        samples: Latents drawn for each of them.
        most_likely: Training data of the highest probabilities, ``(shown, *shape)``.
        least_likely: Training data of the lowest probabilities.
        most_factor: Ratio of their probabilities to the uniform one, ``(shown,)``.
        least_factor: Likewise.
    """

    name: ClassVar[str] = "debias"
    title: ClassVar[str] = "Drawing rare data more often"

    resampling: ResamplingSpec
    rare: tuple[int, ...]
    classes: Tensor
    share_before: Tensor
    share_after: Tensor
    chances: Tensor
    labels: Tensor
    log_prob: Tensor
    reconstruction: Tensor
    log_prob_before: Tensor
    reconstruction_before: Tensor
    samples: int
    most_likely: Tensor
    least_likely: Tensor
    most_factor: Tensor
    least_factor: Tensor

    @property
    def worth(self) -> float:
        """Effective sample size of the draws, as a fraction of the number of training data."""
        return (1 / (len(self.chances) * self.chances.square().sum())).item()

    def chosen(self, *, rare: bool) -> Tensor:
        """Mask of the evaluated data of the rare classes, or of the others, ``(obs,)``."""
        members = torch.isin(self.labels, torch.tensor(self.rare, dtype=self.labels.dtype))
        return members if rare else ~members

    def share(self, *, after: bool) -> float:
        """Share of the rare classes together."""
        members = torch.isin(self.classes, torch.tensor(self.rare, dtype=self.classes.dtype))
        return (self.share_after if after else self.share_before)[members].sum().item()

    def per_class(self, differences: Tensor) -> list[Difference]:
        """Difference for each class."""
        return [Difference.of(differences[self.labels == label]) for label in self.classes]

    def summary(self) -> str:
        """Gain of the rare classes and loss of the others, in a sentence."""
        if not self.rare:
            everything = torch.ones(len(self.log_prob)).bool()
            return (
                f"The likeliest training observation is drawn {self.most_factor[0]:.1f} times as "
                "often as under uniform sampling, the unlikeliest "
                f"{self.least_factor[0]:.2f} times. Over {len(self.log_prob)} test data "
                f"{self._change(everything)}."
            )
        names = ", ".join(map(str, self.rare))
        before, after = self.share(after=False), self.share(after=True)
        return (
            f"Of the draws, {percent(after)} are of the rare classes {names} instead of "
            f"{percent(before)}: {after / before:.1f} times as many. For their test data "
            f"{self._change(self.chosen(rare=True))}; for those of the other classes "
            f"{self._change(self.chosen(rare=False))}."
        )

    def numbers(self) -> list[Number]:
        """Shares, and differences of log p(x) and of the reconstruction."""
        found = [
            Number(
                "relative effective sample size",
                self.worth,
                "fraction",
                "1 / (n sum of p²): effective sample size of the draws, relative to the number of "
                "data",
            )
        ]
        if self.rare:
            before, after = self.share(after=False), self.share(after=True)
            found += [
                Number(
                    "rare share, before", before, "fraction", "of the rare classes in the data"
                ),
                Number(
                    "rare share, after",
                    after,
                    "fraction",
                    "of the rare classes among the draws, in expectation",
                    AMINI,
                ),
                Number("rise of the share", after / before, "", "the second by the first"),
            ]
            found += self._differences("rare classes", self.chosen(rare=True))
            found += self._differences("other classes", self.chosen(rare=False))
        else:
            found += self._differences("all", torch.ones(len(self.log_prob)).bool())
        return found

    def variables(self) -> dict[str, Variable]:
        """Arrays of all classes and of all evaluated observations."""
        found = {
            "log_prob_difference": Variable(
                ("obs",), self.log_prob.numpy(), "log p(x) of test data, after − before, nats"
            ),
            "reconstruction_difference": Variable(
                ("obs",),
                self.reconstruction.numpy(),
                "reconstruction of test data, after − before, nats",
            ),
        }
        if not len(self.classes):
            return found
        found |= {
            "obs_class": Variable(("obs",), self.labels.numpy(), "class of the test observation"),
            "class": Variable(("class",), self.classes.numpy(), "classes of the data"),
            "share_before": Variable(
                ("class",), self.share_before.numpy(), "share in the training data"
            ),
            "share_after": Variable(
                ("class",), self.share_after.numpy(), "expected share among the draws"
            ),
        }
        compared = (
            ("log_prob", self.log_prob, self.log_prob_before),
            ("reconstruction", self.reconstruction, self.reconstruction_before),
        )
        for name, values, before in compared:
            for when, levels in (("before", before), ("after", before + values)):
                means = torch.tensor(self.per_class(levels), dtype=torch.float64)[:, 0].numpy()
                what = f"mean {name} of test data of the class in the fit {when}, nats"
                found[f"class_{name}_{when}"] = Variable(("class",), means, what)
            each = torch.tensor(self.per_class(values), dtype=torch.float64)
            what = f"difference of {name} for test data of the class, nats"
            found[f"class_{name}"] = Variable(("class",), each[:, 0].numpy(), f"mean {what}")
            found[f"class_{name}_error"] = Variable(
                ("class",), each[:, 1].numpy(), f"standard error of the mean {what}"
            )
        return found

    def _change(self, chosen: Tensor) -> str:
        if not chosen.any():
            return "nothing is known: there are none"
        reconstruction = Difference.of(self.reconstruction[chosen])
        if self.log_prob.isnan().all():
            return (
                f"the reconstruction changes by {reconstruction} nats (log p(x) is not known: the "
                "guide is a point)"
            )
        return (
            f"log p(x) changes by {Difference.of(self.log_prob[chosen])} nats, the reconstruction "
            f"by {reconstruction}"
        )

    def _differences(self, whose: str, chosen: Tensor) -> list[Number]:
        if not chosen.any():
            return []
        quantities = (
            ("log p(x)", self.log_prob, f"log p(x), importance-weighted, {self.samples} latents"),
            ("reconstruction", self.reconstruction, "mean of log p(x | z)"),
        )
        return [
            Number(
                f"{name} of {whose}",
                mean,
                "nats",
                f"after − before: {what}; mean over {int(chosen.sum())} test data",
                BURDA if name == "log p(x)" else "",
                error,
            )
            for name, values, what in quantities
            for mean, error in [Difference.of(values[chosen])]
        ]


def variants(
    spec: InferenceSpec, resampling: ResamplingSpec | None = None
) -> dict[str, InferenceSpec]:
    """The same inference without and with resampling: "off" and "on".

    Args:
        spec: Specification of both fits.
        resampling: Resampling of the second fit; by default that of ``spec``, or by the joint
            density of the latents.

    Raises:
        SpecError: Importance weights for an objective that cannot have them.
    """
    chosen = resampling or spec.resampling or KernelResamplingSpec()
    tree = spec.model_dump() | {"resampling": chosen.model_dump()}
    return {
        "off": spec.model_copy(update={"resampling": None}),
        "on": validate(tree, InferenceSpec, "debias"),
    }


@options_checked
def debias(
    before: Autoencoder,
    after: Autoencoder,
    data: Splits,
    rare: Sequence[int] = (),
    *,
    resampling: ResamplingSpec | None = None,
    samples: int = 200,
    num: int = 200,
) -> Debiasing:
    r"""Compare two fits of a model, without and with resampling.

    Differences are paired: the same test data, and the same random numbers, for both. Log p(x) is

    .. math::
        \log p(x) \approx \log \frac1K \sum_k \frac{p(x, z_k)}{q(z_k \mid x)},
        \qquad z_k \sim q(z \mid x)

    a lower bound in expectation.

    Args:
        before: Model fitted without resampling.
        after: Model fitted with resampling, on the same device.
        data: The data of both fits, as loaded or as the models see them.
        rare: Classes to compare with the others.
        resampling: Resampling of ``after``; by default as it was declared.
        samples: :math:`K`.
        num: Most test data of each class to evaluate; ten times as many without labels.

    Raises:
        DataError: No labels, or no such class, though ``rare`` names some; a density that is not
            finite.
        SpecError: The resampling of ``after`` is not known.
    """
    for model in (before, after):
        require_autoencoder("debias(before, after, data)", model)
    require_splits("debias(before, after, data)", data)
    samples, num = as_count("debias", samples, "samples"), as_count("debias", num)
    spec, data = resampling or _declared(after), after.contract.apply(data)
    labels = _labels(data.train)
    classes = labels.unique()
    require_classes(data, rare)
    chances = drawing_probabilities(codes(after, data.train), spec)
    uniform = torch.full_like(chances, 1 / len(chances))
    index = _some_of_each(_labels(data.test), classes, num, len(data.test))
    batch = observations(data.test, index).to(after.device)
    first, second = (
        evaluate_pointwise(before, batch, samples),
        evaluate_pointwise(after, batch, samples),
    )
    order = chances.argsort(stable=True)
    least, most = order[:SHOWN], order.flip(0)[:SHOWN]
    test_labels = data.test.label(index)
    return Debiasing(
        resampling=spec,
        rare=tuple(rare),
        classes=classes,
        share_before=_shares(uniform, labels, classes),
        share_after=_shares(chances, labels, classes),
        chances=chances,
        labels=torch.empty(0).long() if test_labels is None else test_labels.cpu(),
        log_prob=second.log_prob - first.log_prob,
        reconstruction=second.reconstruction - first.reconstruction,
        log_prob_before=first.log_prob,
        reconstruction_before=first.reconstruction,
        samples=samples,
        most_likely=observations(data.train, most).x.cpu(),
        least_likely=observations(data.train, least).x.cpu(),
        most_factor=chances[most] * len(chances),
        least_factor=chances[least] * len(chances),
    )


def _declared(autoencoder: Autoencoder) -> ResamplingSpec:
    declaration = autoencoder.declaration
    spec = None if declaration is None else declaration.inference.resampling
    if spec is None:
        raise SpecError(
            "the second model was not declared with inference.resampling: say how its data were "
            "drawn, as in resampling=KernelResamplingSpec()"
        )
    return spec


def require_classes(data: Splits, rare: Sequence[int]) -> None:
    """Refuse rare classes that the training data do not have.

    Raises:
        DataError: There are no labels, or no such class, though ``rare`` names some.
    """
    if not all_numbers(rare):
        raise DataError(f"rare = {rare!r}: give a list of classes, such as [2, 7]")
    classes = _labels(data.train).unique().tolist()
    if rare and not classes:
        raise DataError(f"{data.name} has no labels, and so no classes {list(rare)}")
    for label in rare:
        if label not in classes:
            known = ", ".join(map(str, classes))
            raise DataError(f"the training data of {data.name} have no class {label}, but {known}")


def _labels(data: Dataset) -> Tensor:
    """Classes ``(data,)`` on the CPU; empty if there are none."""
    labels = data.label(torch.arange(len(data)))
    return torch.empty(0).long() if labels is None else labels.cpu()


def _shares(probabilities: Tensor, labels: Tensor, classes: Tensor) -> Tensor:
    if not len(classes):
        return torch.empty(0).double()
    return expected_shares(probabilities, labels, classes)


def _some_of_each(labels: Tensor, classes: Tensor, num: int, count: int) -> Tensor:
    """Indices of the first ``num`` of each class, in order; without labels the first ``num``."""
    if not len(labels):
        return torch.arange(count)[: 10 * num]
    chosen = [(labels == label).nonzero()[:num, 0] for label in classes]
    return torch.cat(chosen).sort().values
