"""Advice on a richer family for the guide."""

from __future__ import annotations

from pyrovae.parts.families import (
    FlowFamily,
    FullRankNormal,
    MixtureFamily,
    VonMisesFisherFamily,
)
from pyrovae.parts.guides import Guide
from pyrovae.programs.autoencoder import Autoencoder
from pyrovae.programs.vae import VAE

RICHER = "inference.guide.kind 'full_rank', 'iaf' or 'spline'"


def richer_for(autoencoder: Autoencoder) -> str:
    """The same for the guide of an autoencoder; of a program by hand, all that are correlated."""
    return richer_than(autoencoder.posterior) if isinstance(autoencoder, VAE) else RICHER


def richer_than(guide: Guide) -> str:
    """The families that are richer than the guide's, in the words of advice."""
    match guide.family:
        case FlowFamily():
            return "more inference.guide.layers, or wider ones,"
        case FullRankNormal():
            return "inference.guide.kind 'iaf', 'spline' or 'mixture'"
        case MixtureFamily():
            return "more inference.guide.components, or inference.guide.kind 'iaf' or 'spline',"
        case VonMisesFisherFamily():
            return (
                "no guide of the package on the sphere does better; latents off it, with "
                "model.prior.kind 'normal' and inference.guide.kind 'full_rank',"
            )
        case _:
            return RICHER
