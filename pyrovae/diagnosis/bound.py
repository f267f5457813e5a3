"""Gap between the ELBO and log p(x)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from pyrovae.evaluation.importance import standard_error
from pyrovae.evaluation.results import Check, Number, Variable, Verdict, grade

# Nats per observation between the ELBO and log p(x). Ours: on MNIST the gaps of published VAEs
# are 2 to 6 nats (Cremer et al. 2018, arXiv:1801.03558), and models compared there differ by
# about one.
LOOSE, VERY_LOOSE = 0.5, 2.0
BURDA = "Burda et al. (2016), arXiv:1509.00519"


@dataclass(frozen=True, repr=False)
class Bound(Check):
    """The ELBO and an estimate of log p(x), in nats per observation.

    Attributes:
        elbo: The bound, ``(obs,)``.
        log_prob: The estimate, ``(obs,)``; in the mean a lower bound as well, and a tighter one.
        method: Estimator of log p(x).
        reference: Reference of the method.
    """

    elbo: Tensor
    log_prob: Tensor
    method: str
    reference: str = BURDA
    question = "bound"

    @property
    def gap(self) -> Tensor:
        """Estimate of KL(q(z | x), p(z | x)), ``(obs,)``; a lower bound in the mean."""
        return self.log_prob - self.elbo

    def verdict(self) -> Verdict:
        """Grade of the mean gap, with both bounds."""
        gap = self.gap.mean().item()
        found = grade(gap, LOOSE, VERY_LOOSE)
        return Verdict(
            found,
            f"ELBO {_with_error(self.elbo)}, log p(x) {_with_error(self.log_prob)} nats per "
            f"observation ({self.method}): {gap:.2f} nats between them",
            ""
            if found == "ok"
            else "compare models by log p(x), not by the ELBO; --full decomposes the gap",
        )

    def numbers(self) -> list[Number]:
        """Both bounds and their difference."""
        return [
            _number("ELBO", self.elbo, "evidence lower bound at β = 1", "arXiv:1312.6114"),
            _number("log p(x)", self.log_prob, f"log-evidence, {self.method}", self.reference),
            _number("gap", self.gap, "log p(x) − ELBO, the KL of the guide from p(z | x)"),
        ]

    def variables(self) -> dict[str, Variable]:
        """Both bounds and their difference for each observation."""
        return {
            "elbo": Variable(("obs",), self.elbo.numpy(), "evidence lower bound, nats"),
            "log_prob": Variable(
                ("obs",), self.log_prob.numpy(), f"log p(x), {self.method}, nats"
            ),
            "gap": Variable(("obs",), self.gap.numpy(), "log p(x) - ELBO, nats"),
        }


def _with_error(values: Tensor) -> str:
    return f"{values.mean():.2f} ± {standard_error(values):.2f}"


def _number(name: str, values: Tensor, definition: str, reference: str = "") -> Number:
    return Number(
        name,
        values.mean().item(),
        "nats",
        f"{definition}; mean over the data",
        reference,
        standard_error(values).item(),
    )
