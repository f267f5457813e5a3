"""A batch in parts has the gradient of the whole batch."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn

from pyrovae import InferenceSpec, Splits, Training, build
from pyrovae.compute.capture import CaptureError
from pyrovae.compute.distributed import Processes
from pyrovae.errors import SpecError
from pyrovae.specs.computation import Computation
from pyrovae.training.micro_batches import micro_batches

POINT = {"guide": {"kind": "delta"}, "batch_size": 7}  # without noise, so that parts agree


def test_parts_are_all_of_the_batch_and_none_is_larger_than_asked() -> None:
    for size in range(1, 12):
        for parts in range(1, size + 1):
            spec = InferenceSpec(batch_size=size, accumulate=parts)
            for processes in (Processes(), Processes(1, 2), Processes(0, 3)):
                whole = -(-size // processes.size)
                largest = -(-whole // parts)
                for count in range(whole + 1):
                    found = micro_batches(count, spec, processes)
                    assert sum(found) == count
                    assert len(found) <= parts
                    assert all(0 < part <= largest for part in found)
                    assert all(one >= other for one, other in pairwise(found))
                    assert len(set(found[:-1])) <= 1  # so that few sizes are captured


def gradients(training: Training, count: int) -> list[torch.Tensor]:
    """Sums and gradients of a batch, in float64."""
    step = training.take_step
    training.autoencoder.double()
    step.set((0.7, 1e-3, 0.3))

    def found(index: torch.Tensor) -> list[torch.Tensor]:
        return step.differentiate(step.batch(index)[0].x.double())

    return [*step.accumulated(torch.arange(count), found)]


def test_the_gradient_is_that_of_the_whole_batch(few_digits: Splits) -> None:
    for count in (7, 4, 1):
        trainings = [
            Training(
                build("vae", spec := InferenceSpec(**POINT, accumulate=parts), few_digits),
                few_digits,
                spec,
            )
            for parts in (1, 2, 3, 7)
        ]
        for training in trainings[1:]:
            training.autoencoder.load_state_dict(trainings[0].autoencoder.state_dict())
        whole, *others = (gradients(training, count) for training in trainings)
        assert any(gradient.abs().max() > 0 for gradient in whole[1:])
        for parts in others:
            sums = [0, 1, 2, *range(4, len(whole[0]))]  # but for squares within a batch
            torch.testing.assert_close(parts[0][sums], whole[0][sums], rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(parts[1:], whole[1:], rtol=1e-12, atol=1e-12)


def test_no_more_than_a_part_goes_through_the_programs(
    few_digits: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = InferenceSpec(epochs=2, batch_size=15, accumulate=2)
    training = Training(build("vae", spec, few_digits), few_digits, spec)  # of 40 observations
    seen: list[int] = []
    differentiate = training.take_step.differentiate

    def watched(*inputs: torch.Tensor) -> list[torch.Tensor]:
        seen.append(len(inputs[0]))
        return differentiate(*inputs)

    monkeypatch.setattr(training.take_step, "differentiate", watched)
    training.run()
    assert seen == [8, 7, 8, 7, 8, 2] * 2


def test_graphs_are_captured_for_the_sizes_of_parts(few_digits: Splits) -> None:
    spec = InferenceSpec(epochs=1, batch_size=15, accumulate=2)
    vae = build("vae", spec, few_digits)
    training = Training(vae, few_digits, spec, Computation(compile="on"))
    asked: list[int] = []

    def capture(size: int, **_: Any) -> Any:
        asked.append(size)
        if len(asked) == 3:
            raise CaptureError("enough")

    training.take_step.capture = capture  # type: ignore[method-assign]
    training.run()
    assert sorted(asked) == [2, 7, 8]


def test_what_needs_whole_batches_is_refused(few_digits: Splits) -> None:
    for kind in ("tc", "mmd", "free_bits", "capacity"):
        spec = InferenceSpec(objective={"kind": kind}, accumulate=2)
        with pytest.raises(SpecError, match=r"accumulate = 2 splits batches, .*accumulate = 1"):
            Training(build("vae", spec, few_digits), few_digits, spec)
    with pytest.raises(SpecError, match=r"accumulate = 9 .*batch_size = 8; choose at most 8"):
        InferenceSpec(batch_size=8, accumulate=9)
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8))
    spec = InferenceSpec(batch_size=20, accumulate=20)
    vae = build("vae", spec, few_digits, encoder=encoder)
    with pytest.raises(SpecError, match=r"(?s)make parts of batches of one .*batch_size = 22"):
        Training(vae, few_digits, spec)
