"""A wider or deeper network starts as the function of a smaller one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import pyrovae
from pyrovae import ModelSpec
from pyrovae.data import Splits
from pyrovae.programs.starting import start_from
from pyrovae.specs import InferenceSpec

IMAGES = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def data() -> Splits:
    return pyrovae.load_data(IMAGES.repeat(10, 1, 1, 1))


def vae(data: Splits, widths: list[int], guide: str = "diagonal", **others: Any) -> Any:
    network = {"kind": "mlp", "widths": widths} | others
    model = ModelSpec(latent_dim=3, decoder=network)
    return pyrovae.build(model, InferenceSpec(guide={"kind": guide, "encoder": network}), data)


def posterior(vae: Any) -> tuple[Tensor, Tensor]:
    q = vae.encode(IMAGES)
    return q.mean, q.variance


@pytest.mark.parametrize(
    ("smaller", "larger", "others"),
    [
        ([5, 4], [9, 7], {}),
        ([5], [5, 5], {}),
        ([5], [8, 6, 7], {}),
        ([5, 4], [9, 4], {"activation": "tanh"}),
        ([5, 4], [5, 8], {"gated": True}),
        ([2, 3], [4, 5], {"kind": "conv"}),
    ],
    ids=str,
)
def test_it_is_the_same_function(
    data: Splits, smaller: list[int], larger: list[int], others: dict[str, Any]
) -> None:
    for guide in ("diagonal", "full_rank"):
        old, new = vae(data, smaller, **others), vae(data, larger, guide, **others)
        assert not torch.allclose(posterior(new)[0], posterior(old)[0])
        start_from(new, old)
        torch.testing.assert_close(posterior(new), posterior(old))
        z = torch.randn(4, 3)
        torch.testing.assert_close(new.decode(z).mean, old.decode(z).mean)


def test_new_units_learn(data: Splits) -> None:
    old, new = vae(data, [5]), vae(data, [9])
    start_from(new, old)
    posterior(new)[0].square().sum().backward()
    head = new.posterior.family.loc
    assert (head.weight[:, 5:] == 0).all()
    assert (head.weight.grad[:, 5:] != 0).any()
    assert (new.posterior.encoder.layers[0].weight[5:] != 0).all()


def test_a_narrower_network_starts_afresh(data: Splits) -> None:
    old, new = vae(data, [9]), vae(data, [5])
    weight = new.posterior.encoder.layers[0].weight.detach().clone()
    assert "posterior.encoder.layers.0.weight" in start_from(new, old)
    assert torch.equal(weight, new.posterior.encoder.layers[0].weight)
