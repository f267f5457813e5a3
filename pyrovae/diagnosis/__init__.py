"""Diagnostics of a fitted posterior: checks with verdicts, and model comparison.

The commands ``diagnose``, ``refine``, ``evaluate`` and ``compare`` from Python::

    from pyrovae.diagnosis import compare, diagnose, evaluate_pointwise

    diagnosis = diagnose(vae, vae.contract.apply(data).test)
    for check in diagnosis.checks:
        print(check.question, check.verdict())

Names are loaded when they are first used: training needs none of them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyrovae.diagnosis.comparison import Comparison as Comparison
    from pyrovae.diagnosis.comparison import compare as compare
    from pyrovae.diagnosis.diagnosis import Diagnosis as Diagnosis
    from pyrovae.diagnosis.diagnosis import diagnose as diagnose
    from pyrovae.diagnosis.refinement import Refined as Refined
    from pyrovae.diagnosis.refinement import refine as refine
    from pyrovae.evaluation.pointwise import Evaluation as Evaluation
    from pyrovae.evaluation.pointwise import evaluate_pointwise as evaluate_pointwise

_HOMES = {
    "Comparison": "diagnosis.comparison",
    "Diagnosis": "diagnosis.diagnosis",
    "Evaluation": "evaluation.pointwise",
    "Refined": "diagnosis.refinement",
    "compare": "diagnosis.comparison",
    "diagnose": "diagnosis.diagnosis",
    "evaluate_pointwise": "evaluation.pointwise",
    "refine": "diagnosis.refinement",
}

__all__ = [
    "Comparison",
    "Diagnosis",
    "Evaluation",
    "Refined",
    "compare",
    "diagnose",
    "evaluate_pointwise",
    "refine",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'pyrovae.diagnosis' has no attribute '{name}'")
    return getattr(importlib.import_module(f"pyrovae.{_HOMES[name]}"), name)
