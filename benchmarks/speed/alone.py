"""How long do single steps of the classic VAE take, alone on the machine?

The quantiles of single steps tell what medians of blocks do not: how far the best steps are from
the usual ones. Set GOMP_SPINCOUNT as the commands do (30000 on an idle machine).
"""

from __future__ import annotations

import argparse
import time
from typing import Any, get_args

import torch

from pyrovae import Computation, InferenceSpec, ModelSpec, Training, build
from pyrovae.compute.randomness import seeded
from pyrovae.data import Dataset, Splits
from pyrovae.specs.computation import Compile, Precision
from pyrovae.training.loop import Callback

WARM_UP = 100
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95)
CLASSIC = {
    "latent_dim": 20,
    "decoder": {"kind": "mlp", "widths": [400], "activation": "softplus"},
    "binarisation": "threshold",
    "likelihood": {"kind": "bernoulli"},
}


class Clock(Callback):
    """Reads the time after each step, and ends the training after so many."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.times: list[float] = []

    def on_step(self, training: Training) -> None:
        self.times.append(time.perf_counter())
        training.interrupted = training.step >= WARM_UP + self.steps

    def milliseconds(self) -> torch.Tensor:
        return 1e3 * torch.tensor(self.times[WARM_UP:], dtype=torch.float64).diff()


def bits() -> Splits:
    """As many and as dark as MNIST's, from a fixed seed."""
    with seeded(0):
        x = (torch.rand(60_000, 784) < 0.3 * torch.rand(784)).to(torch.uint8)
    parts = (torch.arange(59_904), torch.arange(10), torch.arange(10))
    return Splits(*(Dataset("bits", x, rows, None, 1.0) for rows in parts))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--compile", choices=get_args(Compile), default="on")
    parser.add_argument("--precision", choices=get_args(Precision), default="float32")
    parser.add_argument("--steps", type=int, default=1000)
    options: Any = parser.parse_args()
    data, inference, clock = bits(), InferenceSpec(epochs=100), Clock(options.steps)
    vae = build(ModelSpec.model_validate(CLASSIC), inference, data)
    training = Training(vae, data, inference, Computation(options.compile, options.precision))
    with seeded(0):
        training.run([clock])
    found = clock.milliseconds().quantile(torch.tensor(QUANTILES, dtype=torch.float64))
    print(training.execution.summary)
    names = ("best", "5 %", "25 %", "median", "75 %", "95 %")
    print(", ".join(f"{n} {v:.2f}" for n, v in zip(names, found, strict=True)), "ms")


if __name__ == "__main__":
    main()
