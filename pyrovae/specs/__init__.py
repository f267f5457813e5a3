"""Specifications: the keys of TOML files and of ``--set``. Imports no torch."""

from pyrovae.specs.inference import InferenceSpec as InferenceSpec
from pyrovae.specs.model import ModelSpec as ModelSpec
