"""Scores from the likelihood, its bound, or a part of the bound."""

from __future__ import annotations

from torch import Tensor

from pyrovae.exploration.scores.inputs import ScoreInputs


def surprise(seen: ScoreInputs) -> Tensor:
    r"""Negative log-likelihood, ``(data,)``.

    .. math::
        -\log p(x) \approx -\log \frac1K \sum_k \frac{p(x, z_k)}{q(z_k \mid x)}

    Where the encoder fails, as it may on unusual data, few latents have weight, and the score is
    too high.

    Raises:
        SpecError: The guide is a point.

    References:
        Bishop (1994), *Novelty Detection and Neural Network Validation*; Nalisnick et al. (2019),
        *Do Deep Generative Models Know What They Don't Know?*, arXiv:1810.09136, on why it fails.
    """
    seen.require_density()
    return -seen.judged.log_prob


def bound(seen: ScoreInputs) -> Tensor:
    """Negative ELBO, ``(data,)``: the surprise plus the inference gap.

    Raises:
        SpecError: The guide is a point.
    """
    seen.require_density()
    return -seen.judged.elbo


def code(seen: ScoreInputs) -> Tensor:
    """KL(q(z | x), p(z)), ``(data,)``: divergence of the guide from the prior.

    Raises:
        SpecError: The guide is a point.
    """
    seen.require_density()
    return seen.judged.kl


def reconstruction(seen: ScoreInputs) -> Tensor:
    """Reconstruction error -E log p(x | z) over latents from the guide, ``(data,)``.

    Defined for point guides too.
    """
    return -seen.judged.reconstruction
