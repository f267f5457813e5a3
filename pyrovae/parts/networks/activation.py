"""Nonlinearities by name."""

from __future__ import annotations

from typing import assert_never

from torch import nn

from pyrovae.specs.networks import Activation as Activation


def activation(name: Activation) -> nn.Module:
    """Return the module of an elementwise nonlinearity."""
    match name:
        case "relu":
            return nn.ReLU()
        case "tanh":
            return nn.Tanh()
        case "softplus":
            return nn.Softplus()
        case "elu":
            return nn.ELU()
        case "silu":
            return nn.SiLU()
        case "gelu":
            return nn.GELU()
        case "identity":
            return nn.Identity()
        case _:
            assert_never(name)
