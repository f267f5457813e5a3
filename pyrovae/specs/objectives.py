"""What may be written under ``objective`` of an inference."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveInt

from pyrovae.specs.base import Spec


class ELBOSpec(Spec):
    """Evidence lower bound; the KL in closed form ("analytic"), or sampled, or as it can."""

    kind: Literal["elbo"] = "elbo"
    kl: Literal["auto", "analytic", "sampled"] = "auto"
    particles: PositiveInt = 1
