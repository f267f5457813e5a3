"""Rate and distortion: the two parts of the bound, per observation."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from pyrovae.compute.modes import evaluating
from pyrovae.data import Dataset
from pyrovae.evaluation.batches import batches, observations
from pyrovae.evaluation.importance import standard_error
from pyrovae.objectives import build_objective
from pyrovae.parts.distributions.kl import Kind
from pyrovae.programs.autoencoder import Autoencoder
from pyrovae.specs.objectives import ELBOSpec


class Mean(NamedTuple):
    """A mean and its standard error; NaN where there are too few values."""

    value: float
    error: float

    @classmethod
    def of(cls, values: Tensor) -> Mean:
        """The mean of values ``(n,)``."""
        return cls(values.mean().item(), standard_error(values).item())


class RateDistortion(NamedTuple):
    r"""Rate and distortion per observation, float64 ``(data,)``, in nats; ELBO = -(R + D).

    .. math::
        R(x) = \operatorname{KL}(q(z \mid x), p(z)), \qquad
        D(x) = -\mathbb{E}_{q(z \mid x)} \log p(x \mid z)

    Attributes:
        rate: R; of a guide that is a point it is -log p(z), which is no rate.
        distortion: D, at one latent drawn for each observation.
        kind: Kind of the rate: "exact", "sampled", or "point".
    """

    rate: Tensor
    distortion: Tensor
    kind: Kind

    @property
    def mean_rate(self) -> Mean:
        return Mean.of(self.rate)

    @property
    def mean_distortion(self) -> Mean:
        return Mean.of(self.distortion)

    @property
    def mean_elbo(self) -> Mean:
        return Mean.of(-self.rate - self.distortion)


def rate_and_distortion(autoencoder: Autoencoder, data: Dataset) -> RateDistortion:
    """Compute both parts of the bound.

    The random numbers are those of :func:`pyrovae.evaluation.bound.evaluate`.

    Args:
        autoencoder: Model and guide.
        data: The split, as loaded or as the model sees it.

    References:
        Alemi et al. (2018), *Fixing a Broken ELBO*, arXiv:1711.00464.
    """
    data = autoencoder.contract.prepared(data)
    device = autoencoder.device
    few = observations(data, torch.arange(min(2, len(data)))).to(device)
    objective = build_objective(ELBOSpec(), autoencoder, few)
    with evaluating(autoencoder, device):
        terms = [
            objective.loss_and_terms(autoencoder, batch)[1] for batch in batches(data, device)
        ]
    kinds = set(terms[0].kl_kind.values())
    return RateDistortion(
        torch.cat([part.total_kl for part in terms]).cpu(),
        -torch.cat([part.reconstruction for part in terms]).cpu(),
        "point" if "point" in kinds else "sampled" if "sampled" in kinds else "exact",
    )
