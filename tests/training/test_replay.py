"""Several steps at once are these steps one by one; here without a GPU, run and not recorded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

import pyrovae.training.loop
from pyrovae import InferenceSpec, ModelSpec, Splits, Training, build
from pyrovae.specs.computation import Computation
from pyrovae.training.cuda_graph import Replay
from pyrovae.training.execution import Execution
from pyrovae.training.loop import Callback
from pyrovae.training.step import Step

DECLARED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "nothing changes": ({}, {}),
    "settings": (
        {},
        {
            # Up and down, so that settings come back after others were replayed.
            "beta": {"kind": "cyclical", "cycles": 3, "rise": 0.5},
            "learning_rate_schedule": {"kind": "multi_step", "milestones": [1], "factor": 0.5},
            "clip_norm": 10.0,
        },
    ),
    "an average": (
        {},
        {
            "ema_decay": 0.8,
            "accumulate": 2,
            "optimiser": {"kind": "adam", "learning_rates": {"posterior": 0.05}},
        },
    ),
    "capacity": ({}, {"objective": {"kind": "capacity", "warmup_epochs": 2}}),
    "bits": ({"binarisation": "dynamic", "likelihood": {"kind": "bernoulli"}}, {}),
    "weights": (
        {},
        {
            "resampling": {"kind": "kernel", "importance_weights": True},
            "optimiser": {"kind": "adamax"},
        },
    ),
}
declared = pytest.mark.parametrize(("model", "inference"), DECLARED.values(), ids=DECLARED.keys())
SMALL = {"decoder": {"kind": "mlp", "widths": [16]}}
COUNT, SIZE = 3, 5
# Where a run stops: after which step it is asked to, and when what was done at once has ended.
STOPS = [(1, 3), (4, 6), (7, 7), (8, 8), (9, 11)]


def replay_of(step: Step, kind: type[Replay] = Replay) -> Replay:
    """In place of a CUDA graph: run once, as a recording is, and again whenever replayed."""

    def record(run: Callable[[], None]) -> Callable[[], None]:
        def again() -> None:
            count = step.tally.count
            run()
            step.tally.count = count  # which Python counts, and a graph does not

        run()
        return again

    return kind(step, SIZE, COUNT, record=record)


@pytest.fixture
def begin(few_digits: Splits) -> Callable[..., Training]:
    """A training of eight steps an epoch, of which two replays do six; always the same one."""

    def make(model: dict[str, Any], inference: dict[str, Any]) -> Training:
        spec = InferenceSpec.model_validate({"epochs": 3, "batch_size": SIZE, **inference})
        torch.manual_seed(0)
        vae = build(ModelSpec.model_validate({**SMALL, **model}), spec, few_digits)
        return Training(vae, few_digits, spec, Computation(compile="off"))

    return make


@pytest.fixture
def replayed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Train with replays; how many data each of them took."""
    taken: list[int] = []

    class Counting(Replay):
        def __call__(self, index: torch.Tensor, settings: Any) -> None:
            taken.append(len(index))
            super().__call__(index, settings)

    def prepare(step: Step, *_: Any) -> Execution:
        return Execution("replayed", replay_of(step, Counting))

    monkeypatch.setattr(pyrovae.training.loop, "prepare", prepare)
    return taken


def assert_same(first: Training, second: Training) -> None:
    mine, theirs = first.state_dict(), second.state_dict()
    for part in ("step", "weights", "optimiser", "tally", "random", "average"):
        if part in mine:
            torch.testing.assert_close(mine[part], theirs[part], rtol=0, atol=0)


def trained(training: Training, *callbacks: Callback) -> list[Any]:
    torch.manual_seed(1)
    return [{**vars(record), "seconds": 0.0} for record in training.run(callbacks)]


@declared
def test_replays_are_the_steps_one_by_one(
    begin: Any,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    model: dict[str, Any],
    inference: dict[str, Any],
) -> None:
    single = begin(model, inference)
    history = trained(single)
    taken = request.getfixturevalue("replayed")
    several = begin(model, inference)
    assert trained(several) == history
    assert taken == [COUNT * SIZE] * 6  # two an epoch; the last two steps are by themselves
    assert_same(several, single)


@declared
def test_recording_leaves_everything_as_it_was(
    begin: Any, model: dict[str, Any], inference: dict[str, Any]
) -> None:
    training = begin(model, inference)
    step = training.take_step
    step.importance = torch.ones(40)
    step.set((0.5, 0.01, 2.0))
    step(torch.arange(SIZE))
    torch.manual_seed(7)
    tensors = [*step.tensors(), torch.get_rng_state()]
    before = [tensor.clone() for tensor in tensors]
    replay_of(step)
    after = [*tensors[:-1], torch.get_rng_state()]
    assert all(map(torch.equal, after, before))
    assert step.tally.count == SIZE


class StopAt(Callback):
    """Interrupts training as soon as a step is done."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, training: Training) -> None:
        training.interrupted = training.step >= self.step


@declared
def test_a_replayed_run_that_was_interrupted_is_the_run_that_never_was(
    begin: Any,
    replayed: list[int],
    model: dict[str, Any],
    inference: dict[str, Any],
) -> None:
    whole = begin(model, inference)
    history = trained(whole)
    # Everywhere for what changes with every step, at and within an epoch's end for the others.
    for step, done in STOPS if "clip_norm" in inference else STOPS[-2:]:
        begun, gone_on = begin(model, inference), begin(model, inference)
        before = trained(begun, StopAt(step))
        assert begun.step == done
        gone_on.load_state_dict(begun.state_dict())
        after = [{**vars(record), "seconds": 0.0} for record in gone_on.run()]
        assert before + after == history, step
        assert_same(gone_on, whole)


def test_every_replay_draws_anew(begin: Any) -> None:
    training = begin({}, {})
    step = training.take_step
    replay = replay_of(step)
    settings = [(1.0, 0.0, 0.0)] * COUNT  # nothing is learned
    found = []
    for _ in range(2):
        step.tally.reset()
        replay(torch.arange(COUNT * SIZE), settings)
        assert step.tally.count == COUNT * SIZE
        found.append(step.tally.sums.clone())
    assert not torch.equal(found[0], found[1])


def test_a_step_after_a_replay_has_its_own_settings(begin: Any) -> None:
    step = begin({}, {}).take_step
    replay = replay_of(step)
    own = (0.25, 0.125, 0.0)
    step.set(own)
    replay(torch.arange(COUNT * SIZE), [own, own, (1.0, 0.5, 2.0)])
    assert step.settings.tolist() == [1.0, 0.5, 2.0]
    step.set(own)
    assert step.settings.tolist() == list(own)
