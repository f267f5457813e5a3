"""All scores, with their names, definitions and sources."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from pyrovae.exploration.scores.complexity import complexity, simplicity
from pyrovae.exploration.scores.inputs import ScoreInputs
from pyrovae.exploration.scores.likelihood import bound, code, reconstruction, surprise
from pyrovae.exploration.scores.regret import regret
from pyrovae.exploration.scores.typicality import typicality


class Definition(NamedTuple):
    """A score.

    Attributes:
        name: Name in tables and arrays.
        label: Name in text and pictures.
        meaning: Definition; the end of a sentence.
        reference: Source.
        of: The score itself, ``(data,)``.
    """

    name: str
    label: str
    meaning: str
    reference: str
    of: Callable[[ScoreInputs], Tensor]


SCORES = (
    Definition(
        "surprise",
        "−log p(x)",
        "-log p(x), importance-weighted",
        "Nalisnick et al. (2019), arXiv:1810.09136",
        surprise,
    ),
    Definition("bound", "−ELBO", "-ELBO at β = 1", "", bound),
    Definition("kl", "KL alone", "KL(q(z | x), p(z))", "", code),
    Definition(
        "reconstruction",
        "reconstruction alone",
        "-E log p(x | z) over latents from the guide",
        "",
        reconstruction,
    ),
    Definition(
        "typicality",
        "typicality",
        "|-log p(x) - H|, H its mean over training data",
        "Nalisnick et al. (2019), arXiv:1906.02994",
        typicality,
    ),
    Definition(
        "regret",
        "likelihood regret",
        "ELBO of the best q for the observation - ELBO of the encoder's",
        "Xiao, Yan and Amit (2020), arXiv:2003.02977",
        regret,
    ),
    Definition(
        "complexity",
        "−log p(x) − L(x)",
        "-log p(x) - L(x), L the nats of the image losslessly compressed",
        "Serrà et al. (2020), arXiv:1909.11480",
        complexity,
    ),
    Definition(
        "simplicity",
        "−L(x), no model",
        "-L(x), without a model: the baseline of -log p(x) - L(x)",
        "",
        simplicity,
    ),
)
"""All scores, the simplest first."""
