"""Variational autoencoders as probabilistic programs, on Pyro and PyTorch.

Names are loaded when they are first used: a command that finds a misspelt key answers before
PyTorch is imported.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyrovae.autoencoder import Autoencoder as Autoencoder
    from pyrovae.building import build as build
    from pyrovae.data import Splits as Splits
    from pyrovae.data import load_data as load_data
    from pyrovae.evidence import log_evidence as log_evidence
    from pyrovae.fitting import fit as fit
    from pyrovae.specs import InferenceSpec as InferenceSpec
    from pyrovae.specs import ModelSpec as ModelSpec
    from pyrovae.training import Training as Training
    from pyrovae.vae import VAE as VAE
    from pyrovae.weights import load as load
    from pyrovae.weights import save as save

__version__ = "0.1.0"

_HOMES = {
    "Autoencoder": "autoencoder",
    "InferenceSpec": "specs",
    "ModelSpec": "specs",
    "Splits": "data",
    "Training": "training",
    "VAE": "vae",
    "build": "building",
    "fit": "fitting",
    "load": "weights",
    "load_data": "data",
    "log_evidence": "evidence",
    "save": "weights",
}

__all__ = [
    "VAE",
    "Autoencoder",
    "InferenceSpec",
    "ModelSpec",
    "Splits",
    "Training",
    "build",
    "fit",
    "load",
    "load_data",
    "log_evidence",
    "save",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'pyrovae' has no attribute '{name}'")
    return getattr(importlib.import_module(f"pyrovae.{_HOMES[name]}"), name)
