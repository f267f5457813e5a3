"""torch's optimisers, from their specifications."""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

from torch import nn
from torch.optim import Adam, Adamax, AdamW, Optimizer

from pyrovae.specs.inference import AdamaxSpec, AdamSpec, AdamWSpec, OptimiserSpec


def build_optimiser(spec: OptimiserSpec, parameters: Iterable[nn.Parameter]) -> Optimizer:
    """One optimiser over all parameters, fused into one kernel where torch can.

    References:
        Kingma and Ba (2015), *Adam*, arXiv:1412.6980; Loshchilov and Hutter (2019), *Decoupled
        Weight Decay Regularization*, arXiv:1711.05101.
    """
    options = spec.model_dump(exclude={"kind", "learning_rate"})
    match spec:
        case AdamSpec():
            return Adam(parameters, lr=spec.learning_rate, fused=True, **options)
        case AdamWSpec():
            return AdamW(parameters, lr=spec.learning_rate, fused=True, **options)
        case AdamaxSpec():
            return Adamax(parameters, lr=spec.learning_rate, **options)
        case _:
            assert_never(spec)
