"""The moving average of the weights is its formula, and is what is judged and kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from pyrovae import InferenceSpec, Splits, Training, build, fit
from pyrovae.errors import SpecError
from pyrovae.training.loop import Callback
from pyrovae.training.weight_average import WeightAverage


def test_the_average_is_its_formula() -> None:
    """The plain mean for 1 / (1 - decay) steps, then the recursion."""
    weight = torch.zeros(3, dtype=torch.float64)
    average = WeightAverage([weight, torch.tensor(7)], decay=0.75)
    seen = torch.randn(9, 3, dtype=torch.float64)
    expected = None
    for count, value in enumerate(seen, 1):
        weight.copy_(value)
        average.update()
        expected = seen[:count].mean(0) if count <= 4 else 0.75 * expected + 0.25 * value
        with average.used():
            torch.testing.assert_close(weight, expected, rtol=1e-6, atol=1e-6)
            with average.used(False):
                assert torch.equal(weight, value)
            assert not torch.equal(weight, value) or count == 1
        assert torch.equal(weight, value)


def weights_of(training: Training) -> list[torch.Tensor]:
    return [value.clone() for value in training.autoencoder.state_dict().values()]


@pytest.fixture
def begin(few_digits: Splits) -> Callable[..., Training]:
    """A training of three steps an epoch, always the same one."""

    def make(**inference: Any) -> Training:
        spec = InferenceSpec(epochs=3, batch_size=15, **inference)
        torch.manual_seed(0)
        return Training(build("vae", spec, few_digits), few_digits, spec)

    return make


def test_an_average_without_memory_changes_nothing(begin: Any) -> None:
    plain, without = begin(), begin(ema_decay=0.0)
    records = []
    for training in (plain, without):
        torch.manual_seed(1)
        records.append([{**vars(record), "seconds": 0.0} for record in training.run()])
        training.conclude()
    assert records[0] == records[1]
    assert all(map(torch.equal, weights_of(without), weights_of(plain)))


def test_steps_are_those_without_an_average_and_it_is_kept(begin: Any) -> None:
    class Watch(Callback):
        def __init__(self) -> None:
            self.steps: list[list[torch.Tensor]] = []
            self.ends: list[list[torch.Tensor]] = []

        def on_step(self, training: Training) -> None:
            self.steps.append(weights_of(training))

        def on_epoch_end(self, training: Training, records: Any) -> None:
            self.ends.append(weights_of(training))

    plain, averaged = Watch(), Watch()
    training = begin(ema_decay=0.999)  # the mean of all steps, as there are nine
    for each, watch in ((begin(), plain), (training, averaged)):
        torch.manual_seed(1)
        each.run([watch])
    for mine, theirs in zip(averaged.steps, plain.steps, strict=True):
        assert all(map(torch.equal, mine, theirs))
    for epoch, end in enumerate(averaged.ends, 1):
        means = [torch.stack(each).mean(0) for each in zip(*plain.steps[: 3 * epoch], strict=True)]
        for found, mean in zip(end, means, strict=True):
            torch.testing.assert_close(found, mean, rtol=1e-4, atol=1e-6)
    training.conclude()
    kept = averaged.ends[training.kept.epoch - 1]
    assert all(map(torch.equal, weights_of(training), kept))


def test_it_is_of_all_weights_that_are_not_whole_numbers(few_digits: Splits) -> None:
    encoder = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(64, 8), torch.nn.BatchNorm1d(8)
    )
    vae = build("vae", InferenceSpec(epochs=2, ema_decay=0.9), few_digits, encoder=encoder)
    fit(vae, few_digits)
    assert encoder[2].running_mean.abs().max() > 0


def test_a_decay_is_below_one() -> None:
    with pytest.raises(SpecError, match="ema_decay"):
        InferenceSpec(ema_decay=1.0)
