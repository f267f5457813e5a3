"""Dead units: as many as were planted."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pyrovae import Splits
from pyrovae.evaluation.hidden_units import hidden_units
from pyrovae.programs.building import build


@pytest.fixture
def x(few_digits: Splits) -> Tensor:
    return few_digits.train.batch(torch.arange(20)).x


def built(data: Splits, decoder: dict[str, Any]) -> Any:
    settings = {"model.decoder": decoder, "model.latent_dim": 3}
    return build("vae", "svi", data, settings)


@pytest.mark.parametrize("kind", ["mlp", "conv"])
def test_planted_units_are_counted(few_digits: Splits, x: Tensor, kind: str) -> None:
    """In the decoder's last hidden layer; a channel of a convolution is one unit."""
    vae = built(few_digits, {"kind": kind, "widths": [5, 7], "activation": "relu"})
    layers = [m for m in vae.decoder.modules() if isinstance(m, (nn.Linear, nn.Conv2d))]
    hidden: Any = layers[-2]
    with torch.no_grad():
        hidden.bias.fill_(1e6)
        alive = hidden_units(vae, x)
        hidden.bias[:3] = -1e6
        found = hidden_units(vae, x)
    assert found.total == alive.total
    assert found.dead - alive.dead == 3


def test_all_units_are_counted(few_digits: Splits, x: Tensor) -> None:
    vae = built(few_digits, {"kind": "mlp", "widths": [5, 7], "activation": "relu"})
    assert hidden_units(vae, x).total == 2 * (5 + 7)


def test_smooth_units_never_die(few_digits: Splits, x: Tensor) -> None:
    vae = built(few_digits, {"kind": "mlp", "widths": [30], "activation": "silu"})
    assert hidden_units(vae, x) == (0, 0)


def test_counting_leaves_nothing_behind(few_digits: Splits, x: Tensor) -> None:
    vae = built(few_digits, {"kind": "mlp", "widths": [30], "activation": "relu"})
    random = torch.get_rng_state()
    first = hidden_units(vae, x)
    assert torch.equal(torch.get_rng_state(), random)
    assert not any(m._forward_hooks for m in vae.modules())
    assert hidden_units(vae, x) == first
