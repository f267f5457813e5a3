"""Variational autoencoders as probabilistic programs, on Pyro and PyTorch.

Names are loaded when they are first used: a command that finds a misspelt key answers before
PyTorch is imported.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from pyrovae.version import __version__ as __version__

if TYPE_CHECKING:
    from pyrovae.data import Splits as Splits
    from pyrovae.data import load_data as load_data
    from pyrovae.diagnosis.arviz_conversion import to_arviz as to_arviz
    from pyrovae.diagnosis.arviz_converters import from_pyro_mcmc as from_pyro_mcmc
    from pyrovae.diagnosis.arviz_converters import from_pyro_svi as from_pyro_svi
    from pyrovae.evaluation.evidence import log_evidence as log_evidence
    from pyrovae.evaluation.semi_amortised import local_posterior as local_posterior
    from pyrovae.programs.autoencoder import Autoencoder as Autoencoder
    from pyrovae.programs.building import build as build
    from pyrovae.programs.vae import VAE as VAE
    from pyrovae.runs.export import export_networks as export_networks
    from pyrovae.runs.loading import load as load
    from pyrovae.runs.open_run import open_run as open_run
    from pyrovae.runs.weights import load_weights as load_weights
    from pyrovae.runs.weights import save as save
    from pyrovae.specs import InferenceSpec as InferenceSpec
    from pyrovae.specs import ModelSpec as ModelSpec
    from pyrovae.specs.computation import Computation as Computation
    from pyrovae.training.fit import fit as fit
    from pyrovae.training.loop import Callback as Callback
    from pyrovae.training.loop import Training as Training
    from pyrovae.training.tracking import Tracking as Tracking

_HOMES = {
    "Autoencoder": "programs.autoencoder",
    "Callback": "training.loop",
    "Computation": "specs.computation",
    "InferenceSpec": "specs",
    "ModelSpec": "specs",
    "Splits": "data",
    "Tracking": "training.tracking",
    "Training": "training.loop",
    "VAE": "programs.vae",
    "build": "programs.building",
    "export_networks": "runs.export",
    "fit": "training.fit",
    "from_pyro_mcmc": "diagnosis.arviz_converters",
    "from_pyro_svi": "diagnosis.arviz_converters",
    "load": "runs.loading",
    "load_data": "data",
    "load_weights": "runs.weights",
    "local_posterior": "evaluation.semi_amortised",
    "log_evidence": "evaluation.evidence",
    "open_run": "runs.open_run",
    "save": "runs.weights",
    "to_arviz": "diagnosis.arviz_conversion",
}

__all__ = [
    "VAE",
    "Autoencoder",
    "Callback",
    "Computation",
    "InferenceSpec",
    "ModelSpec",
    "Splits",
    "Tracking",
    "Training",
    "build",
    "export_networks",
    "fit",
    "from_pyro_mcmc",
    "from_pyro_svi",
    "load",
    "load_data",
    "load_weights",
    "local_posterior",
    "log_evidence",
    "open_run",
    "save",
    "to_arviz",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'pyrovae' has no attribute '{name}'{_hint(name)}")
    return getattr(importlib.import_module(f"pyrovae.{_HOMES[name]}"), name)


def _hint(name: str) -> str:
    """The end of a sentence: the name that is probably meant, or where it is."""
    from pyrovae.errors import nearest

    if name in importlib.import_module("pyrovae.diagnosis").__all__:
        return f"; it is pyrovae.diagnosis.{name}"
    return "" if name.startswith("_") else f"; {nearest(name, __all__)}"


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
