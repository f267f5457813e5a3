"""Construction of a prior from its specification."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

import torch
from torch import Tensor

from pyrovae.parts.priors.abstract import Prior
from pyrovae.parts.priors.flow import FlowPrior
from pyrovae.parts.priors.hyperspherical import HypersphericalPrior
from pyrovae.parts.priors.laplace import LaplacePrior
from pyrovae.parts.priors.mixture import MixturePrior
from pyrovae.parts.priors.normal import NormalPrior
from pyrovae.parts.priors.student_t import StudentTPrior
from pyrovae.parts.priors.vamp import VampPrior
from pyrovae.specs.own import own_part
from pyrovae.specs.priors import (
    FlowPriorSpec,
    HypersphericalPriorSpec,
    LaplacePriorSpec,
    MixturePriorSpec,
    NormalPriorSpec,
    OwnPriorSpec,
    PriorSpec,
    StudentTPriorSpec,
    VampPriorSpec,
)


def build_prior(
    spec: PriorSpec,
    latent_dim: int,
    shape: Sequence[int],
    levels: float | None,
    pseudo_inputs: Tensor | None,
) -> Prior:
    """Build p(z)."""
    match spec:
        case NormalPriorSpec():
            return NormalPrior(latent_dim, spec.learned)
        case LaplacePriorSpec():
            return LaplacePrior(latent_dim, spec.learned)
        case StudentTPriorSpec():
            return StudentTPrior(latent_dim, spec.df, spec.learned)
        case MixturePriorSpec():
            return MixturePrior(latent_dim, spec.components)
        case FlowPriorSpec():
            return FlowPrior(latent_dim, spec.transform, spec.layers, spec.widths)
        case VampPriorSpec():
            if pseudo_inputs is None:
                pseudo_inputs = torch.zeros(spec.pseudo_inputs, *shape)
            return VampPrior(latent_dim, pseudo_inputs, levels)
        case HypersphericalPriorSpec():
            return HypersphericalPrior(latent_dim)
        case OwnPriorSpec():
            return own_part(spec, "model.prior", Prior, latent_dim=latent_dim)
        case _:
            assert_never(spec)
