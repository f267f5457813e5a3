"""Discrete latents: how certain the guide is of them, and what they have to do with labels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from pyrovae.data import Batch
from pyrovae.errors import SpecError
from pyrovae.evaluation.classes import class_probabilities
from pyrovae.evaluation.latent_use import ACTIVE_KL
from pyrovae.evaluation.results import Check, Number, Variable, Verdict, percent
from pyrovae.programs.autoencoder import Autoencoder

KUHN = "Kuhn (1955), The Hungarian Method for the Assignment Problem"


class ClassUse(NamedTuple):
    r"""A discrete latent k and its probabilities q(k | x).

    .. math::
        I(x; k) = H\Big(\frac1N \sum_n q(k \mid x_n)\Big) - \frac1N \sum_n H(q(k \mid x_n))

    Attributes:
        name: Name of the latent.
        probabilities: q(k | x), ``(obs, class)``.
        labels: Classes of the data, ``(obs,)``, if there are any.
    """

    name: str
    probabilities: NDArray[Any]
    labels: NDArray[Any] | None

    @property
    def entropy(self) -> float:
        """Mean entropy of q(k | x), in nats."""
        return float(_entropy(self.probabilities).mean())

    @property
    def information(self) -> float:
        """I(x; k) under the guide, in nats; at most log N and log K."""
        return max(0.0, float(_entropy(self.probabilities.mean(0))) - self.entropy)

    @property
    def confusion(self) -> NDArray[Any] | None:
        """Number of observations of each label with each most probable class, ``(label, class)``.

        None without labels.
        """
        if self.labels is None:
            return None
        count = max(int(self.labels.max()) + 1, self.probabilities.shape[1])
        table = np.zeros((count, count), dtype=np.int64)
        np.add.at(table, (self.labels, self.probabilities.argmax(1)), 1)
        return table

    @property
    def agreement(self) -> float:
        """Fraction of the data whose most probable class is their label; NaN without labels."""
        return math.nan if self.confusion is None else _share(np.trace(self.confusion), self)

    @property
    def best_agreement(self) -> float:
        """The same after the renumbering of the classes that agrees best."""
        if self.confusion is None:
            return math.nan
        rows, columns = linear_sum_assignment(self.confusion, maximize=True)
        return _share(self.confusion[rows, columns].sum(), self)


@dataclass(frozen=True, repr=False)
class Classes(Check):
    """Probabilities, entropy and information of discrete latents.

    Attributes:
        latents: The latents.
    """

    latents: tuple[ClassUse, ...]

    question = "classes"

    def verdict(self) -> Verdict:
        finding = "; ".join(map(_found, self.latents))
        idle = [use.name for use in self.latents if use.information < ACTIVE_KL]
        if not idle:
            return Verdict("ok", finding)
        return Verdict(
            "FAIL",
            finding,
            f"q({', '.join(idle)} | x) is the same for all data: another start, or labels for "
            "some of them, may help",
        )

    def numbers(self) -> list[Number]:
        return [number for use in self.latents for number in _numbers(use)]

    def variables(self) -> dict[str, Variable]:
        found = {}
        for use in self.latents:
            found[f"probabilities of {use.name}"] = Variable(
                ("obs", f"class of {use.name}"), use.probabilities, f"q({use.name} | x)"
            )
            if use.confusion is not None:
                found[f"confusion of {use.name}"] = Variable(
                    ("label", f"class of {use.name}, and none"),
                    use.confusion,
                    "observations of each label with each most probable class",
                )
        return found


def check_classes(
    autoencoder: Autoencoder, batch: Batch | Tensor, labels: Tensor | None = None
) -> Classes:
    """Compute the probabilities of all discrete latents.

    Args:
        autoencoder: Model and guide.
        batch: The data.
        labels: Their classes, ``(data,)``, if they are known.

    Raises:
        SpecError: No discrete latent has values that can be listed.
    """
    found = class_probabilities(autoencoder, batch)
    if not found:
        raise SpecError("no discrete latent has values that can be listed, as a count has none")
    known = None if labels is None else labels.cpu().numpy()
    return Classes(tuple(ClassUse(name, p.numpy(), known) for name, p in found.items()))


def _entropy(probabilities: NDArray[Any]) -> NDArray[Any]:
    """Entropies in nats, over the last axis."""
    logs = np.log(np.where(probabilities > 0, probabilities, 1.0))
    return -(probabilities * logs).sum(-1)


def _share(count: Any, use: ClassUse) -> float:
    return float(count) / len(use.probabilities)


def _found(use: ClassUse) -> str:
    most = math.log(use.probabilities.shape[1])
    words = (
        f"q({use.name} | x) has entropy {use.entropy:.2f} of at most {most:.2f} nats, and "
        f"I(x; {use.name}) is {use.information:.2f} nats"
    )
    if use.labels is None:
        return words
    words += f"; the most probable class is the label of {percent(use.agreement)} of the data"
    if use.best_agreement > use.agreement:
        words += f", of {percent(use.best_agreement)} after the best renumbering"
    return words


def _numbers(use: ClassUse) -> list[Number]:
    k = use.name
    found = [
        Number(f"entropy of {k}", use.entropy, "nats", f"mean over the data of H(q({k} | x))"),
        Number(
            f"I(x; {k})",
            use.information,
            "nats",
            f"entropy of the mean of q({k} | x) over the data, less the mean entropy",
        ),
    ]
    if use.labels is None:
        return found
    return [
        *found,
        Number(
            f"agreement of {k} with the labels",
            use.agreement,
            "fraction",
            "data whose most probable class is their label",
            error=math.sqrt(use.agreement * (1 - use.agreement) / len(use.labels)),
        ),
        Number(
            f"agreement of {k} after renumbering",
            use.best_agreement,
            "fraction",
            "the same after the renumbering of the classes that agrees best",
            KUHN,
        ),
    ]
