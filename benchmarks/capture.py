"""Loss and gradients of a program by hand, as it is and captured, in turn.

    python benchmarks/capture.py MODEL INFERENCE DATA BATCH [ARGUMENT=VALUE ...]

MODEL is a file or the name of a shipped program, with its arguments at the end. Prints the number
of operations, the seconds that capturing takes, three ratios of medians, and the largest relative
difference of loss and gradients.
"""

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import pyro
import torch

from pyrovae import Computation, Training, build, load_data
from pyrovae.specs.files import parse_override

REPEATS, ROUNDS = 10, 3


def median(call: Callable[[], Any]) -> float:
    """Median milliseconds of a call."""
    times = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - begun))
    return statistics.median(times)


def difference(first: list[torch.Tensor], second: list[torch.Tensor]) -> float:
    pairs = zip(first, second, strict=True)
    return max(((a - b).norm() / b.norm().clamp(min=1e-12)).item() for a, b in pairs)


def main() -> None:
    torch.set_num_threads(1)
    model, inference, source, size, *words = sys.argv[1:]
    settings = dict(parse_override(f"program.{word}") for word in words)
    data = load_data(source)
    program = build(model, inference, data, {**settings, "inference.batch_size": int(size)})
    training = Training(program, data, program.inference, Computation("off"))
    step = training.take_step
    inputs = step.inputs(*step.batch(torch.arange(int(size))))
    with pyro.validation_enabled(False):
        begun = time.perf_counter()
        captured = step.capture(int(size))
        print(f"{captured.operations} operations, {time.perf_counter() - begun:.0f} s to capture")
        for _ in range(ROUNDS):
            plain = median(lambda: step.differentiate(*inputs))
            fast = median(lambda: captured(*inputs))
            print(f"{plain:.2f} ms, captured {fast:.2f} ms: {plain / fast:.2f} times as fast")
        found = []
        for call in (step.differentiate, captured):
            torch.manual_seed(0)
            found.append([*call(*inputs)])
        print(f"largest relative difference {difference(*found):.1e}")


if __name__ == "__main__":
    main()
