"""What may be written in a TOML file or after ``--set``. Imports no torch."""

from pyrovae.specs.inference import InferenceSpec as InferenceSpec
from pyrovae.specs.model import ModelSpec as ModelSpec
