"""Residual networks: what they are at the start, and that they know neither batch nor mode."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from pyrovae import ModelSpec, build
from pyrovae.errors import SpecError
from pyrovae.parts.networks import ResidualDecoder, ResidualEncoder
from pyrovae.parts.networks.residual import CHANNELS, ResidualBlock, normalisation

SHAPE = (2, 8, 9)
Make = Callable[..., nn.Module]
MAKE: dict[str, Make] = {
    "encoder": lambda **options: ResidualEncoder(SHAPE, (4, 6), "elu", **options).double(),
    "decoder": lambda **options: ResidualDecoder(3, SHAPE, 2, (6, 4), "elu", **options).double(),
}
INPUT = {"encoder": SHAPE, "decoder": (3,)}
either = pytest.mark.parametrize("role", MAKE)


@torch.no_grad()
def generic(network: nn.Module) -> nn.Module:
    """The network with blocks that add something."""
    for parameter in network.parameters():
        parameter.normal_()
    return network


def data(role: str, count: int = 5) -> Tensor:
    return torch.randn(count, *INPUT[role], dtype=torch.float64)


def blocks_of(network: nn.Module) -> list[nn.Module]:
    return [module for module in network.modules() if isinstance(module, ResidualBlock)]


def test_a_block_starts_as_the_identity_and_does_not_stay_it() -> None:
    block, h = ResidualBlock(6, "elu").double(), torch.randn(5, 6, 4, 3).double()
    assert torch.equal(block(h), h)
    block(h).square().sum().backward()
    [weight] = [p for name, p in block.named_parameters() if name == "residual.5.weight"]
    assert weight.grad.all()


@either
@torch.no_grad()
def test_depth_changes_nothing_at_the_start_and_the_function_thereafter(role: str) -> None:
    shallow, deep, x = MAKE[role](blocks=1), MAKE[role](blocks=3), data(role)
    assert (len(blocks_of(shallow)), len(blocks_of(deep))) == (2, 6)
    kept = [
        [layer for layer in network.layers if not isinstance(layer, ResidualBlock)]
        for network in (shallow, deep)
    ]
    for ours, theirs in zip(*kept, strict=True):
        theirs.load_state_dict(ours.state_dict())
    if role == "decoder":
        deep.linear.load_state_dict(shallow.linear.state_dict())
    assert torch.equal(deep(x), shallow(x))
    for block in blocks_of(deep):
        before = deep(x)
        generic(block)
        assert not torch.isclose(deep(x), before).all()


@either
@torch.no_grad()
def test_training_and_evaluation_are_the_same_function(role: str) -> None:
    network, x = generic(MAKE[role]()), data(role)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert torch.equal(network.train()(x), network.eval()(x))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@either
def test_no_datum_has_a_gradient_of_another(role: str) -> None:
    network, x = generic(MAKE[role]()), data(role).requires_grad_()
    network(x)[2].square().sum().backward()
    reached = x.grad.flatten(1).any(dim=1)
    assert reached.tolist() == [False, False, True, False, False]


@pytest.mark.parametrize("width", range(2, 130))
def test_groups_are_as_many_as_divide_the_channels_and_leave_enough_in_each(width: int) -> None:
    groups = normalisation(width).num_groups
    finer = [g for g in range(2, width + 1) if width % g == 0 and width // g >= CHANNELS]
    assert groups == max(finer, default=1)


@pytest.mark.parametrize("widths", [(1,), (4, 1), (1, 4)])
@pytest.mark.parametrize("make", [ResidualEncoder, lambda s, w: ResidualDecoder(2, s, 1, w)])
def test_a_width_of_one_is_refused(make: Make, widths: tuple[int, ...]) -> None:
    with pytest.raises(SpecError, match="'residual' network with a width of 1"):
        make((1, 8, 8), widths)


def test_a_specification_is_built_as_it_says_and_mirrored() -> None:
    spec = {"kind": "residual", "widths": [6, 4], "blocks": 3, "activation": "gelu"}
    model = {"decoder": spec, "likelihood": {"kind": "binomial"}}
    vae = build(ModelSpec.model_validate(model), "svi")
    networks = (vae.posterior.encoder, vae.decoder)
    down, up = (
        [(m.in_channels, m.out_channels) for m in network.modules() if isinstance(m, nn.Conv2d)]
        for network in networks
    )
    assert sorted(down) == sorted((inputs, outputs) for outputs, inputs in up)
    for network in networks:
        assert len(blocks_of(network)) == 2 * 3
        assert any(isinstance(module, nn.GELU) for module in network.modules())
        assert not any(isinstance(module, nn.ReLU) for module in network.modules())
    assert vae.posterior.encoder.levels == 16
