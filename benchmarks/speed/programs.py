"""Steps of programs by hand: as programs, captured, and compiled, in turns in one process.

    python benchmarks/speed/programs.py [--problem NAME ...] [--rounds N] [--threads N]

A step is what a training takes: batch, loss, gradients, Adam. All three begin with the same
weights; before anything is timed, loss and gradients of each are compared from the same random
numbers. Prints, as Markdown, median milliseconds over the rounds and the ratio of medians over the
step as programs with a bootstrap interval of 95 % (ratios.py). The data are drawn: what they are
does not matter to the time.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import torch
from ratios import Times, ratio

from pyrovae import Computation, Splits, Training, build
from pyrovae.data import from_arrays
from pyrovae.training.step import Step

HERE = Path(__file__).parent / "programs_by_hand"
BLOCK = 0.3  # seconds of a block of steps as programs, at least one step
AGREEMENT = 1e-5  # relative difference of loss and gradients
WAYS = ("captured", "compiled")
RNG = np.random.default_rng(0)


def images() -> Splits:
    """Bits, as many as in small images of digits."""
    return from_arrays((RNG.random((4000, 28, 28)) < 0.2).astype(np.uint8))


def labelled() -> Splits:
    """The same, half of which have a class that is known."""
    x = (RNG.random((4000, 28, 28)) < 0.2).astype(np.uint8)
    known = RNG.random(4000) < 0.5
    return from_arrays(x, variables={"y": RNG.integers(0, 10, 4000), "y_known": known})


def columns() -> Splits:
    """Real numbers, bits, a class and counts, a fifth of which are not known."""
    values = {
        "bits": RNG.integers(0, 2, (4000, 5)),
        "kind": RNG.integers(0, 4, 4000),
        "counts": RNG.poisson(3.0, (4000, 3)),
    }
    x = RNG.normal(size=(4000, 10))
    known = {f"{n}_known": RNG.random(v.shape) < 0.8 for n, v in ({"x": x} | values).items()}
    return from_arrays(x, variables=values | known)


def sequences(steps: int) -> Splits:
    """Bits in steps, of unequal length."""
    x = (RNG.random((300, steps, 88)) < 0.05).astype(np.uint8)
    return from_arrays(x, variables={"lengths": RNG.integers(steps // 2, steps + 1, 300)})


@dataclass(frozen=True)
class Problem:
    """A program by hand and how it is trained.

    Attributes:
        program: Its file, or the name of a shipped one.
        data: Draws the data.
        batch: Data in a step.
        inference: Name of the specification.
        arguments: Of the program.
        compiles: Whether it is worth waiting for the compiler.
    """

    program: str | Path
    data: Callable[[], Splits]
    batch: int
    inference: str = "svi"
    arguments: dict[str, Any] = field(default_factory=dict)
    compiles: bool = True


PROBLEMS = {
    "two-layers": Problem(HERE / "two_layers.py", images, 128),
    "m2": Problem("m2", labelled, 200, "enumerated", {"label_weight": 46}),
    "columns": Problem(HERE / "columns.py", columns, 128),
    "dmm": Problem("dmm", lambda: sequences(12), 20),
    "dmm-160": Problem("dmm", lambda: sequences(160), 20, compiles=False),
}
USUAL = ("two-layers", "m2", "columns", "dmm")  # dmm-160 takes minutes to be captured


def main() -> None:
    options = parser().parse_args()
    torch.set_num_threads(options.threads)
    print(
        "| | ms as programs | captured over it | compiled over it | operations "
        "| seconds to capture; and compile | largest relative difference |"
    )
    print("|---|---|---|---|---|---|---|")
    for name in options.problem or USUAL:
        with pyro.validation_enabled(False):
            print(measured(name, PROBLEMS[name], options.rounds), flush=True)


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    add = parser.add_argument
    add("--problem", nargs="+", choices=PROBLEMS, metavar="NAME", help=", ".join(PROBLEMS))
    add("--rounds", type=int, default=15, metavar="N", help="blocks of each; 15 by default")
    add("--threads", type=int, default=2, metavar="N", help="and cores; 2 by default")
    return parser


def measured(name: str, problem: Problem, rounds: int) -> str:
    """A row of the table.

    Raises:
        SystemExit: A step is not compiled, or has other numbers.
    """
    ways, seconds = {"programs": step(problem)}, []
    for way in WAYS[: 1 + problem.compiles]:
        ways[way] = step(problem)
        begun = time.perf_counter()
        captured = ways[way].capture(problem.batch, compiled=way == "compiled")
        seconds.append(f"{time.perf_counter() - begun:.1f}")
        if way == "compiled" and captured.obstacle is not None:
            raise SystemExit(f"{name}: {captured.obstacle}")
    off = max(difference(ways["programs"], ways[way]) for way in WAYS if way in ways)
    if not off <= AGREEMENT:
        raise SystemExit(f"{name}: captured, loss or gradients are {off:.1e} off")
    times = in_turns(ways, rounds)
    median = np.median(times["programs"])
    ratios = [over(times[way], times["programs"]) if way in ways else "–" for way in WAYS]
    cells = [name, f"{median:.2f}", *ratios, captured.operations, "; ".join(seconds), f"{off:.0e}"]
    return f"| {' | '.join(map(str, cells))} |"


def over(times: Times, programs: Times) -> str:
    """The ratio of medians and its interval."""
    found = ratio(times, programs)
    return f"{found.value:.2f} ({found.low:.2f} – {found.high:.2f})"


def step(problem: Problem) -> Step:
    """The step of a training that has not begun."""
    RNG.bit_generator.state = np.random.default_rng(0).bit_generator.state
    settings = {f"program.{key}": value for key, value in problem.arguments.items()}
    settings["inference.batch_size"] = problem.batch
    data = problem.data()
    program = build(problem.program, problem.inference, data, settings)
    training = Training(program, data, program.inference, Computation("off"))
    program.train()
    found = training.take_step
    found.set(found.settings_at(0, training.budget))
    return found


def difference(first: Step, second: Step) -> float:
    """Largest relative difference of loss and gradients, from the same random numbers."""
    found = []
    for each in (first, second):
        torch.manual_seed(0)
        inputs = each.inputs(*each.batch(torch.arange(each.spec.batch_size)))
        torch.manual_seed(1)
        found.append([*each.captured.get(each.spec.batch_size, each.differentiate)(*inputs)])
    pairs = zip(*found, strict=True)
    return max(((a - b).norm() / a.norm().clamp(min=1e-12)).item() for a, b in pairs)


def in_turns(ways: dict[str, Step], rounds: int) -> dict[str, Times]:
    """Milliseconds per step in each block, ``(rounds,)``; the first round warms up."""
    orders = {way: order(each) for way, each in ways.items()}
    block(ways["programs"], orders["programs"], 2)
    count = max(1, round(BLOCK / block(ways["programs"], orders["programs"], 3)))
    times: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(rounds + 1):
        for way in RNG.permutation([*ways]):
            took = block(ways[way], orders[way], count)
            if turn:
                times[way].append(1000 * took)
    return {way: np.asarray(found) for way, found in times.items()}


def order(step: Step) -> Iterator[torch.Tensor]:
    """Full batches of the training data, for ever."""
    size = step.spec.batch_size
    while True:
        for index in torch.randperm(len(step.data)).split(size):
            if len(index) == size:
                yield index


def block(step: Step, indices: Iterator[torch.Tensor], count: int) -> float:
    """Seconds per step."""
    begun = time.perf_counter()
    for _ in range(count):
        step(next(indices))
    return (time.perf_counter() - begun) / count


if __name__ == "__main__":
    main()
