"""The step benchmark (benchmarks/speed): its peers compute the same, and its numbers are right."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyro
import pytest
import torch

FOLDER = Path(__file__).parents[2] / "benchmarks" / "speed"
SMALLER: dict[str, dict[str, Any]] = {
    "classic": {"widths": (9,)},
    "burda": {"widths": (9, 7)},
    "vamp": {"widths": (9, 7), "pseudo_inputs": 6},
    "conv": {"widths": (3, 4)},
}
ReadModule = Callable[[str], ModuleType]


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ReadModule:
    """A module of the benchmark, by name."""
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module


@pytest.fixture(params=SMALLER)
def problem(request: pytest.FixtureRequest, module: ReadModule) -> Any:
    """Each problem with a small network, on images of 8 x 8."""
    full = module("problems").PROBLEMS[request.param]
    small = SMALLER[request.param]
    return dataclasses.replace(full, side=8, latent_dim=3, batch=20, data=50, **small)


@pytest.mark.slow  # one of the peers is compiled
def test_the_peers_have_the_same_loss(problem: Any, module: ReadModule) -> None:
    data = module("problems").bits(problem)
    weights = module("weights").initial(problem)
    peers = module("peers")
    names = ("torch-eager", "pyro", "ours-uncaptured")
    x = data[: problem.batch]
    losses = [peers.load(name)(problem, data, weights, "cpu").loss(x) for name in names]
    assert losses == pytest.approx([losses[0]] * len(names), rel=1e-5)


def test_every_weight_has_a_say_in_the_loss_that_is_compared(
    problem: Any, module: ReadModule
) -> None:
    data = module("problems").bits(problem)
    weights = module("weights").initial(problem)
    eager = module("peers").load("torch-eager")
    x = data[: problem.batch]
    first = eager(problem, data, weights, "cpu").loss(x)
    others = [eager(problem, data, weights, "cpu").loss(1 - x)]
    for name in weights:
        without = {**weights, name: 0 * weights[name]}
        others.append(eager(problem, data, without, "cpu").loss(x))
    agree, tolerance = module("rounds").agree, module("rounds").AGREEMENT
    assert not any(agree(other, first, tolerance) for other in others)


def test_a_peer_with_another_loss_stops_the_run(module: ReadModule) -> None:
    check = module("rounds").check
    check("classic", {"pyro": 500.0, "torch-eager": 500.001, "numpyro": 500.0})
    for loss in (500.01, float("nan")):
        with pytest.raises(SystemExit, match=r"the same \(numpyro differ"):
            check("classic", {"pyro": 500.0, "torch-eager": 500.001, "numpyro": loss})


def test_what_slows_down_a_whole_round_changes_no_ratio_within_rounds(module: ReadModule) -> None:
    rng = np.random.default_rng(0)
    machine = rng.lognormal(sigma=1.0, size=50)  # how slow it was in each round
    ratio = module("ratios").ratio(3.0 * machine, 2.0 * machine)
    expected = pytest.approx(1.5)
    assert ratio.value == expected
    assert (ratio.low, ratio.high) == (expected, expected)
    assert ratio.quartiles == (expected, expected, expected)


def test_the_interval_holds_the_true_ratio_nearly_as_often_as_it_says(module: ReadModule) -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(40):
        over, under = rng.lognormal(np.log([[3.0], [2.0]]), 0.2, size=(2, 40))
        ratio = module("ratios").ratio(over, under)
        held += ratio.low <= 1.5 <= ratio.high
    assert held >= 32


def test_a_block_is_as_many_steps_as_were_done_in_it(module: ReadModule) -> None:
    blocks: list[int] = []
    clock = module("clock").Clock(10, lambda block: blocks.append(block.steps))
    for step in (4, 8, 12, 16, 20, 24, 40):  # several steps at once, past the end of a block
        clock.reached(step)
    assert blocks == [12, 12, 16]


def test_a_step_of_a_program_by_hand_with_other_weights_is_told_apart(module: ReadModule) -> None:
    programs = module("programs")
    with pyro.validation_enabled(False):
        first, second = (programs.step(programs.PROBLEMS["columns"]) for _ in range(2))
        assert programs.difference(first, second) == 0
        with torch.no_grad():
            second.parameters[-1].mul_(1.01)
        assert not programs.difference(first, second) <= programs.AGREEMENT
