"""Networks in fewer bits, and everything else as it was."""

from __future__ import annotations

from typing import Any

import pyro
import pytest
import torch
from torch import Tensor, nn

from pyrovae import InferenceSpec, Splits, Training, build
from pyrovae.compute.capture import capture
from pyrovae.compute.precision import check_precision, networks_in, tf32
from pyrovae.compute.randomness import seeded
from pyrovae.errors import SpecError
from pyrovae.specs.computation import Computation

BF16 = Computation(compile="off", precision="bf16")


@pytest.fixture
def network() -> nn.Module:
    with seeded(0):
        return nn.Sequential(nn.Linear(30, 20), nn.Tanh(), nn.Linear(20, 5))


def test_a_network_rounds_and_returns_float32(network: nn.Module) -> None:
    x = torch.randn(7, 30)
    exact = network(x)
    with networks_in("bf16", [network]):
        rounded = network(x)
    assert rounded.dtype == torch.float32
    assert not torch.equal(rounded, exact)
    # Seven bits of mantissa, and sums of thirty numbers.
    assert (rounded - exact).abs().max() < 2**-6 * exact.abs().max()
    assert torch.equal(rounded, rounded.bfloat16().float())


def test_what_is_no_network_does_not_round(network: nn.Module) -> None:
    x, weight = torch.randn(7, 30), torch.randn(30, 5)
    with networks_in("bf16", [network]):
        network(x)
        assert torch.equal(x @ weight, torch.mm(x, weight))
        assert (x @ weight).dtype == torch.float32
        assert not torch.is_autocast_enabled("cpu")


def test_afterwards_the_network_is_as_it_was(network: nn.Module) -> None:
    x = torch.randn(7, 30)
    before = network(x)
    with pytest.raises(RuntimeError), networks_in("bf16", [network]):
        network(torch.zeros(7, 3))  # a shape that it does not take
    assert not torch.is_autocast_enabled("cpu")
    assert torch.equal(network(x), before)
    with networks_in("float32", [network]):
        assert torch.equal(network(x), before)


def test_gradients_are_float32_and_near(network: nn.Module) -> None:
    x = torch.randn(7, 30)
    (exact,) = torch.autograd.grad(network(x).square().sum(), network[0].weight)  # type: ignore[index]
    with networks_in("bf16", [network]):
        loss = network(x).square().sum()
    (rounded,) = torch.autograd.grad(loss, network[0].weight)  # type: ignore[index]
    assert rounded.dtype == torch.float32
    assert 0 < (rounded - exact).norm() < 0.05 * exact.norm()


def begin(data: Splits, computation: Computation) -> Training:
    spec = InferenceSpec.model_validate({"epochs": 2, "batch_size": 16})
    return Training(build("vae", spec, data), data, spec, computation)


def trained(training: Training) -> list[Any]:
    with seeded(training.spec.seed):
        return training.run()


def test_a_model_is_trained_in_bfloat16_to_nearly_the_same(few_digits: Splits) -> None:
    rounded, exact = begin(few_digits, BF16), begin(few_digits, Computation("off"))
    found, expected = trained(rounded)[-1], trained(exact)[-1]
    assert {p.dtype for p in rounded.autoencoder.parameters()} == {torch.float32}
    assert found.elbo != expected.elbo
    assert found.elbo == pytest.approx(expected.elbo, rel=0.02)


def test_bfloat16_can_be_captured(few_digits: Splits) -> None:
    step = begin(few_digits, BF16).take_step
    x = few_digits.train.batch(torch.arange(16)).x

    def numbers(function: Any) -> list[Tensor]:
        with seeded(3):
            return [tensor.clone() for tensor in function(x)]

    with pyro.validation_enabled(False):  # as in training
        captured = capture(step.differentiate, step.autoencoder, [x], [x.roll(1, 0)])
    for found, expected in zip(numbers(captured), numbers(step.differentiate), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)


def test_tf32_is_refused_where_there_is_none(few_digits: Splits) -> None:
    with pytest.raises(SpecError, match=r"--precision tf32 .* the device is cpu; choose float32"):
        begin(few_digits, Computation(precision="tf32"))
    check_precision("tf32", torch.device("cuda"))
    check_precision("bf16", torch.device("cpu"))


def test_tf32_is_on_only_if_it_is_asked_for() -> None:
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    with tf32("float32"):
        assert not matmul.allow_tf32
        assert not cudnn.allow_tf32
    with tf32("tf32"):
        assert matmul.allow_tf32
        assert cudnn.allow_tf32
    assert (matmul.allow_tf32, cudnn.allow_tf32) == before
