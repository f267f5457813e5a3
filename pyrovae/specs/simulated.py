"""Keys of ``simulated`` of an inference."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pyrovae.specs.base import Spec


class SimulatedSpec(Spec):
    """Draws from p(x, z) on which the guide is fitted too, as many as there are data in a batch.

    The guide's gradient is (1 - ``share``) times that of the data and ``share`` times that of the
    draws, whose loss is -log q(z | x) ("forward_kl") or the objective itself ("objective"). The
    model's gradient is that of the data alone.
    """

    share: Annotated[float, Field(gt=0, le=1)] = 0.5
    loss: Literal["forward_kl", "objective"] = "forward_kl"
