"""Training on observations that are not in memory is training on those observations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pyrovae import Callback, Computation, Splits, Training, build, load_data
from pyrovae.data import from_arrays
from pyrovae.data.sources import Source
from pyrovae.training.records import History

SETTINGS: dict[str, dict[str, Any]] = {
    "normal": {"model.output_bias": "data_mean"},
    "counts": {"model.likelihood.kind": "multinomial"},
    "bits": {"model.binarisation": "dynamic", "model.likelihood.kind": "bernoulli"},
    "vamp": {"model.prior": {"kind": "vamp", "pseudo_inputs": 3}},
    "resampled": {"inference.resampling": {"kind": "histogram"}},
}
SMALL = {
    "inference.epochs": 2,
    "inference.batch_size": 16,
    "model.latent_dim": 2,
    "model.decoder.widths": [4],
}


class Stop(Callback):
    """Interrupts training after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, training: Training) -> None:
        training.interrupted = training.step == self.step


def made(data: Splits, settings: dict[str, Any], compile: str = "off") -> Training:
    vae = build("vae", "svi", data, {**SMALL, **settings})
    assert vae.declaration is not None
    return Training(vae, data, vae.declaration.inference, Computation(compile=compile))


def run(training: Training, *callbacks: Callback) -> History:
    """Train with the random stream of a process that has just begun."""
    torch.manual_seed(0)
    return training.run(callbacks)


@pytest.fixture
def both(tmp_path: Path) -> Callable[[np.ndarray], tuple[Splits, Splits]]:
    """The same data in memory and in a file."""

    def make(x: np.ndarray) -> tuple[Splits, Splits]:
        np.save(tmp_path / "rows.npy", x)
        apart = load_data(np.load(tmp_path / "rows.npy", mmap_mode="r"))
        return from_arrays(x, name=apart.name), apart

    return make


@pytest.mark.parametrize(("kind", "settings"), SETTINGS.items(), ids=SETTINGS.keys())
def test_training_on_rows_in_a_file_gives_the_same_bits(
    both: Any, same: Callable[[Any, Any], bool], kind: str, settings: dict[str, Any]
) -> None:
    rng = np.random.default_rng(0)
    counted = rng.integers(0, 7, (60, 5))
    x = counted if kind in ("counts", "bits") else rng.normal(size=(60, 5))
    runs = [made(data, settings) for data in both(x)]
    assert isinstance(runs[1].splits.train.x, Source)
    histories = [[vars(r) for r in run(each)] for each in runs]
    assert same(*histories)
    assert same(*(each.state_dict() for each in runs))
    assert torch.equal(*(torch.tensor(r.autoencoder.embed(r.splits.test)) for r in runs))


def test_training_on_rows_in_a_file_goes_on_bit_for_bit(
    both: Any, same: Callable[[Any, Any], bool]
) -> None:
    memory, apart = both(np.random.default_rng(0).normal(size=(60, 5)))
    whole = made(memory, {})
    run(whole)
    for step in (1, 2, 4, 5):  # three steps an epoch
        first = made(apart, {})
        run(first, Stop(step))
        second = made(apart, {})
        second.load_state_dict(first.state_dict())
        second.run()
        assert same(second.state_dict(), whole.state_dict()), step


def test_captured_steps_take_rows_from_a_file(
    both: Any, same: Callable[[Any, Any], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pyrovae.training.execution.CAPTURING_PAYS", 1)
    runs = [made(d, {}, "auto") for d in both(np.random.default_rng(0).normal(size=(60, 5)))]
    for each in runs:
        run(each)
        assert each.execution.summary.startswith("captured")
    assert same(*(each.state_dict() for each in runs))


def test_observations_are_read_no_more_often_than_they_are_used() -> None:
    seen: list[int] = []

    class Rows:
        x = np.random.default_rng(0).normal(size=(60, 5))

        def __len__(self) -> int:
            return 60

        def __getitem__(self, i: int) -> np.ndarray:
            seen.append(i)
            return self.x[i]

    training = made(load_data(Rows()), {"inference.epochs": 1})

    class Count(Callback):
        def on_start(self, training: Training) -> None:
            seen.clear()

    run(training, Count())
    of_training = set(training.splits.train.rows.tolist())
    assert sorted(i for i in seen if i in of_training) == sorted(of_training)
