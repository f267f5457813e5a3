"""Disentanglement: dependence between single latent dimensions and known factors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from pyrovae.compute.distributed import ALONE, Processes
from pyrovae.compute.randomness import seeded
from pyrovae.data import Splits
from pyrovae.evaluation.results import Number, Variable, percent
from pyrovae.evaluation.sharing import shared
from pyrovae.exploration.disentanglement import beta_vae, dci, factor_vae, mig, sap
from pyrovae.exploration.disentanglement.all_latents import all_codes
from pyrovae.exploration.disentanglement.dci import DCI, Trees
from pyrovae.exploration.disentanglement.factor_vae import FactorVAE
from pyrovae.exploration.disentanglement.latents_with_factors import coded
from pyrovae.exploration.disentanglement.mig import MIG
from pyrovae.exploration.disentanglement.sap import SAP
from pyrovae.exploration.result import Result
from pyrovae.programs.arguments import options_checked, require_autoencoder, require_splits
from pyrovae.programs.autoencoder import Autoencoder
from pyrovae.programs.given_values import as_count

Array = NDArray[Any]

REPEATS = 3
SEED = 0

CHEN = "Chen et al. (2018), arXiv:1802.04942"
EASTWOOD = "Eastwood and Williams (2018), ICLR"
KUMAR = "Kumar et al. (2018), arXiv:1711.00848"
KIM = "Kim and Mnih (2018), arXiv:1802.05983"
HIGGINS = "Higgins et al. (2017), ICLR"


class Scores(NamedTuple):
    """Every score by its protocol, one value for each repeated draw of data."""

    mig: list[MIG]
    dci: list[DCI]
    sap: list[SAP]
    factor_vae: list[FactorVAE]
    beta_vae: list[float]


class Score(NamedTuple):
    """One score over several draws of data.

    Attributes:
        name: Name of the score in the literature.
        values: Value for each draw, ``(repeats,)``.
        chance: Value for uninformative latents.
        definition: Definition in a sentence.
        reference: Source.
    """

    name: str
    values: Array
    chance: float
    definition: str
    reference: str

    @property
    def mean(self) -> float:
        """Mean over the draws."""
        return float(self.values.mean())

    @property
    def error(self) -> float | None:
        """Standard error of the mean; None for a single draw, or where all data were drawn."""
        spread = float(self.values.std(ddof=1)) if len(self.values) > 1 else 0.0
        return spread / np.sqrt(len(self.values)) if spread > 0 else None


@dataclass(frozen=True, eq=False, repr=False)
class Factors(Result):
    """Scores of latents against known factors.

    Attributes:
        names: Names of the factors.
        dims: Names of the latent dimensions.
        count: Number of data encoded.
        majority: Share of the most frequent value of each factor, ``(factors,)``.
        scores: Scores for each draw of data.
        drawn: True if the latents are draws of q(z | x), because no mean is known.
    """

    names: tuple[str, ...]
    dims: list[str]
    count: int
    majority: Array
    scores: Scores
    drawn: bool

    name = "factors"
    title = "Known factors in the latents"

    @property
    def varying(self) -> Array:
        """Mask of the factors that take more than one value, ``(factors,)``."""
        return self.majority < 1

    @property
    def information(self) -> Array:
        """I(z_d; v_k) in nats, ``(dims, factors)``."""
        return np.mean([found.information for found in self.scores.mig], 0)

    @property
    def entropy(self) -> Array:
        """H(v_k) in nats, ``(factors,)``."""
        return np.mean([found.entropy for found in self.scores.mig], 0)

    @property
    def importance(self) -> Array:
        """Importance of each dimension for each factor, by DCI's trees, ``(dims, factors)``."""
        return np.mean([found.importance for found in self.scores.dci], 0)

    @property
    def table(self) -> list[Score]:
        """All scores, in the order in which they are shown."""
        one_of = 1 / max(int(self.varying.sum()), 1)
        by_size = float(self.majority[self.varying].mean())
        found = self.scores
        disentangled, complete, informative = (
            np.array([getattr(draw, part) for draw in found.dci])
            for part in ("disentanglement", "completeness", "informativeness")
        )
        return [
            Score("MIG", np.array([draw.score for draw in found.mig]), 0.0, _MIG, CHEN),
            Score("DCI disentanglement", disentangled, 0.0, _DISENTANGLED, EASTWOOD),
            Score("DCI completeness", complete, 0.0, _COMPLETE, EASTWOOD),
            Score("DCI informativeness", informative, by_size, _INFORMATIVE, EASTWOOD),
            Score("SAP", np.array([draw.score for draw in found.sap]), 0.0, _SAP, KUMAR),
            Score(
                "FactorVAE score",
                np.array([draw.score for draw in found.factor_vae]),
                one_of,
                _FACTOR_VAE,
                KIM,
            ),
            Score("β-VAE score", np.array(found.beta_vae), one_of, _BETA_VAE, HIGGINS),
        ]

    def summary(self) -> str:
        scores = [
            f"{score.name} {score.mean:.2f}"
            for score in self.table
            if score.name not in {"DCI completeness", "DCI informativeness"}
        ]
        share = self.information[:, self.varying] / self.entropy[self.varying]
        dim, factor = np.unravel_index(int(share.argmax()), share.shape)
        known = [name for name, varies in zip(self.names, self.varying, strict=True) if varies]
        constant = [name for name in self.names if name not in known]
        return (
            f"{', '.join(scores)}, of {self.count} data with {len(known)} factors that vary "
            f"({', '.join(known)}"
            + (f"; {', '.join(constant)} did not vary and are left out" if constant else "")
            + f"). The clearest dimension is {self.dims[dim]}, which has {percent(share.max())} "
            f"of the information about {known[factor]}."
            + (" Latents are draws of q(z | x), whose means are not known." if self.drawn else "")
        )

    def numbers(self) -> list[Number]:
        repeats = len(self.scores.mig)
        table = [
            Number(
                score.name,
                score.mean,
                "",
                f"{score.definition}; the mean of {repeats} draws of data; chance is "
                f"{score.chance:.2f}",
                score.reference,
                score.error,
            )
            for score in self.table
        ]
        gaps = np.mean([found.gaps for found in self.scores.mig], 0)
        return table + [
            Number(
                f"gap, {name}",
                float(gap),
                "",
                "the two dimensions that know most of the factor: the difference of their "
                "information, as a share of the factor's entropy; not a number if it is constant",
                CHEN,
            )
            for name, gap in zip(self.names, gaps, strict=True)
        ]

    def variables(self) -> dict[str, Variable]:
        found, pairs = self.scores, ("latent", "factor")
        votes = np.mean([draw.votes for draw in found.factor_vae], 0)
        return {
            "mutual_information": Variable(
                pairs, self.information, "I(z_d; v_k) in nats, of latents in bins"
            ),
            "entropy": Variable(("factor",), self.entropy, "H(v_k) in nats"),
            "importance": Variable(
                pairs,
                self.importance,
                "importance of each dimension in trees that predict the factor",
            ),
            "tree_accuracy": Variable(
                ("factor",),
                np.mean([draw.accuracy for draw in found.dci], 0),
                "share of test data whose factor the trees predict",
            ),
            "line_accuracy": Variable(
                pairs,
                np.mean([draw.accuracy for draw in found.sap], 0),
                "share of test data whose factor a linear classifier of one dimension predicts",
            ),
            "votes": Variable(
                pairs, votes, "how often a dimension varies least where the factor is fixed"
            ),
            "score": Variable(
                ("score", "repeat"),
                np.stack([score.values for score in self.table]),
                ", ".join(score.name for score in self.table),
            ),
        }


_MIG = "information gap of the two best dimensions for a factor, as a share of its entropy"
_DISENTANGLED = "degree to which a dimension matters for one factor only, by importances in trees"
_COMPLETE = "degree to which only one dimension matters for a factor, by importances in trees"
_INFORMATIVE = "mean accuracy of trees that predict the factors from the latents"
_SAP = "accuracy gap of the two best dimensions for a factor, by linear classifiers"
_FACTOR_VAE = "accuracy of predicting the fixed factor from the dimension that varies least"
_BETA_VAE = "accuracy of predicting the factor that pairs share from differences of their latents"


@options_checked
def disentangle(
    autoencoder: Autoencoder,
    data: Splits,
    *,
    count: int | None = None,
    repeats: int = REPEATS,
    trees: Trees = "forest",
    progress: bool = False,
    processes: Processes = ALONE,
) -> Factors:
    """Score the latents against the known factors of the data.

    Data of all splits are encoded, as in the published protocols; the scores are computed from
    samples of them. Repeats with other samples give the variance due to sampling, not that due to
    training, which takes runs with other seeds.

    Args:
        autoencoder: Model and guide.
        data: Splits, as loaded or as the model sees them, with known factors.
        count: Number of data, drawn at random; by default all.
        repeats: Number of samples of data from which each score is computed.
        trees: The classifier of DCI, see :func:`pyrovae.exploration.disentanglement.dci`.
        progress: Show a progress bar on stderr.
        processes: The processes that call this together and share data and scores; all have the
            result, which does not depend on their number.

    Raises:
        DataError: No factors are known, or none can be scored.
    """
    require_autoencoder("disentangle(vae, data)", autoencoder)
    require_splits("disentangle(vae, data)", data)
    repeats = as_count("disentangle", repeats, "repeats")
    count = None if count is None else as_count("disentangle", count)
    found = all_codes(autoencoder, data, count=count, progress=progress, processes=processes)
    factors = found.factors.numpy()
    counts = [np.unique(factor, return_counts=True)[1] for factor in factors.T]
    return Factors(
        names=found.names,
        dims=found.dims,
        count=len(found.codes),
        majority=np.array([values.max() / values.sum() for values in counts]),
        scores=measure(
            found.codes,
            found.factors,
            repeats=repeats,
            trees=trees,
            progress=progress,
            processes=processes,
        ),
        drawn=found.drawn,
    )


def measure(
    codes: Array | Tensor,
    factors: Array | Tensor,
    *,
    repeats: int = REPEATS,
    trees: Trees = "forest",
    progress: bool = False,
    processes: Processes = ALONE,
) -> Scores:
    """Compute every score of latents ``(n, dims)`` against factors ``(n, factors)``, repeatedly.

    Args:
        codes: Means of q(z | x), ``(n, dims)``.
        factors: Known factors as integers, ``(n, factors)``; constant ones are left out.
        repeats: Number of samples of data from which each score is computed.
        trees: The classifier of DCI.
        progress: Show a progress bar on stderr.
        processes: The processes that call this together and share the scores; all have them.

    Raises:
        DataError: Latents and factors cannot be scored.
    """
    both = coded(codes, factors)

    scores = (mig, partial(dci, trees=trees), sap, factor_vae, beta_vae)
    parts = [(score, SEED + repeat) for score in scores for repeat in range(repeats)]

    def work(part: tuple[Callable[..., Any], int]) -> Any:
        score, seed = part
        found = score(*both, seed=seed)
        bar.update()
        return found

    own = len(parts[processes.rank :: processes.size])
    with seeded(SEED), tqdm(total=own, desc="scores", disable=not progress) as bar:
        found = shared(parts, work, torch.device("cpu"), processes)
    return Scores(*(found[start : start + repeats] for start in range(0, len(found), repeats)))
