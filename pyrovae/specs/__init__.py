"""Specifications: the keys of TOML files and of ``--set``. Imports no torch."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyrovae.specs.inference import InferenceSpec as InferenceSpec
    from pyrovae.specs.model import ModelSpec as ModelSpec

_HOMES = {"InferenceSpec": "inference", "ModelSpec": "model"}


# Most commands need no specification to answer --help or a mistake, and Pydantic takes a quarter
# of a second for them.
def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
