"""How time and memory of the classic VAE grow: with the data, and with what a step has to do.

    python benchmarks/speed/growth.py [--full] [--only data|steps] [--device cuda] [--rounds N]

784-400-20, softplus, bits, batches of 128, Adam. Each point is measured in a process of its own,
so that its peak memory (``ru_maxrss``) is its own; one process that only imports gives the floor.
Writes growth.json, growth.md and three pictures to --output.

- *Time per epoch, against the number of training data.* An epoch is an order, the steps, and an
  evaluation on validation data of 1 % of the size; the first of a process is not counted. From
  a million data on it is put together from 2000 steps (``--steps``) and from everything that is
  done once per epoch, unless ``--full`` measures it; the table says which.
- *Peak memory, against the number of training data*, after each stage in the life of a run.
  Per datum there should be 784 bytes, 8 for its place in the split, and in an epoch 8 more for its
  place in the order and a view for each batch: anything that grows by 784 is a hidden copy.
- *Time per step, against the latent dimension, the batch size and the number of particles*,
  captured and not. Medians over steps, the first ones left out.

The data are drawn in place as bytes: what they are does not matter to the time.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from growth_report import Point, draw, report

ROOT = Path(__file__).parents[2]
DATA = (1_000, 10_000, 100_000, 1_000_000)
LARGE = 1_000_000
LATENT = (2, 10, 20, 50, 200, 1000)
BATCH = tuple(16 * 2**power for power in range(9))
PARTICLES = (1, 5, 20, 50)
STEP_DATA = 16_384
"""Data for the time of a step: a multiple of every batch size."""

WARM_STEPS = 20
"""Steps that are not counted: memory is found and, captured, a kernel compiled."""


def main() -> None:
    options = parser().parse_args()
    if options.point is not None:
        print(json.dumps(measure(json.loads(options.point), options)))
        return
    points = [point for _ in range(options.rounds) for point in planned(options.only)]
    lines = []
    for number, point in enumerate(points, start=1):
        lines.append({**point, **in_own_process(point, options)})
        print(f"{number}/{len(points)} {json.dumps(lines[-1])}", flush=True)
    options.output.mkdir(parents=True, exist_ok=True)
    results = {"hardware": hardware(options.device), "rounds": options.rounds, "points": lines}
    (options.output / "growth.json").write_text(json.dumps(results, indent=1) + "\n")
    table = report(results)
    (options.output / "growth.md").write_text(table)
    print(table)
    draw(lines, options.output)


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    add = parser.add_argument
    add("--full", action="store_true", help="a whole epoch also of a million data")
    add("--steps", type=int, default=2000, help="steps that a million data are judged by (2000)")
    add("--only", choices=["data", "steps"], help="one half of the measurements")
    add("--rounds", type=int, default=1, help="how often each point is measured, in turn (1)")
    add("--seconds", type=float, default=10.0, help="most time for the steps of a point (10)")
    add("--device", choices=["cpu", "cuda"], default="cpu")
    add("--output", type=Path, default=Path("runs/speed"), help="folder (runs/speed)")
    add("--point", help=argparse.SUPPRESS)
    return parser


def planned(only: str | None) -> list[Point]:
    """What is measured in a round."""
    data = [{"axis": "floor"}, *({"axis": "data", "value": count} for count in DATA)]
    steps = [
        {"axis": axis, "value": value, "compile": mode, "objective": objective}
        for axis, values, objective in (
            ("latent dimension", LATENT, "elbo"),
            ("batch size", BATCH, "elbo"),
            ("particles", PARTICLES, "elbo"),
            ("particles", PARTICLES, "iwae"),
        )
        for value in values
        for mode in ("off", "on")
    ]
    return {"data": data, "steps": steps, None: data + steps}[only]


def in_own_process(point: Point, options: argparse.Namespace) -> Point:
    words = [sys.executable, __file__, "--point", json.dumps(point)]
    words += ["--steps", str(options.steps), "--seconds", str(options.seconds)]
    words += ["--device", options.device, *(["--full"] if options.full else [])]
    # As the commands set it before torch is imported.
    environment = {"GOMP_SPINCOUNT": "30000", **os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{point} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def measure(point: Point, options: argparse.Namespace) -> Point:
    """One point, in this process."""
    import pyrovae.runs.train  # noqa: F401  # all that a training imports

    memory = Memory(options.device)
    memory.look("imported")
    if point["axis"] == "floor":
        return {"peak_bytes": memory.peaks}
    training = prepared(point, options, memory)
    clock = make_clock(options.device)
    if point["axis"] != "data":
        clock.steps, clock.seconds = 400, options.seconds
        training.run([clock])
        return {"ms_per_step": 1e3 * clock.median()}
    training.splits.fingerprint()
    memory.look("fingerprint")
    if point["value"] >= LARGE and not options.full:
        result = sampled_epoch(training, clock, options.steps)
    else:
        training.run([clock])
        result = {"epoch_seconds": statistics.median(clock.epochs[1:]), "epoch": "measured"}
    memory.look("epoch")
    whole_evaluation(training)
    memory.look("evaluated")
    return {**result, "peak_bytes": memory.peaks}


def prepared(point: Point, options: argparse.Namespace, memory: Memory) -> Any:
    """A training of the classic VAE that is about to begin."""
    from pyrovae import InferenceSpec, ModelSpec, Training, build
    from pyrovae.specs.computation import Computation

    of = {point["axis"]: point["value"]}
    count = of.get("data", STEP_DATA)
    batch_size = of.get("batch size", 128)
    splits = drawn_data(count)
    memory.look("data")
    model = {
        "latent_dim": of.get("latent dimension", 20),
        "decoder": {"kind": "mlp", "widths": [400], "activation": "softplus"},
        "likelihood": {"kind": "bernoulli"},
    }
    objective = {"kind": point.get("objective", "elbo"), "particles": of.get("particles", 1)}
    # Small epochs are repeated until they can be timed; steps are counted, not epochs.
    epochs = max(2, 1 + 400 // -(-count // batch_size)) if "data" in of else 10**6
    inference = InferenceSpec.model_validate(
        {"epochs": epochs, "batch_size": batch_size, "objective": objective}
    )
    vae = build(ModelSpec.model_validate(model), inference, splits).to(options.device)
    memory.look("built")
    training = Training(vae, splits, inference, Computation(compile=point.get("compile", "on")))
    memory.look("training")
    return training


def drawn_data(count: int) -> Any:
    """Bits as bytes, ``count`` for training and 1 % more for validation and for test each."""
    import torch

    from pyrovae.data.splitting import Rows, split

    few = max(2, count // 100)
    generator = torch.Generator().manual_seed(0)
    x = torch.empty(count + 2 * few, 1, 28, 28, dtype=torch.uint8)
    x.random_(0, 2, generator=generator)  # in place: bernoulli_ makes a copy of integers
    rows = Rows(*torch.arange(len(x)).split([count, few, few]))
    return split("bits", x, None, rows=rows, maximum=1.0)


def sampled_epoch(training: Any, clock: Any, steps: int) -> Point:
    """Time per epoch from some of its steps and from all that is done once."""
    from pyrovae.evaluation.bound import evaluate
    from pyrovae.training.order import epoch_order

    clock.steps = steps
    training.run([clock])
    started = time.perf_counter()
    epoch_order(training.spec.seed, 1, len(training.splits.train))
    evaluate(training.autoencoder, training.splits.validation, training.objective)
    once = time.perf_counter() - started
    seconds = clock.mean() * training.budget.steps_per_epoch + once
    return {"epoch_seconds": seconds, "epoch": f"from {steps} steps", "once_seconds": once}


def whole_evaluation(training: Any) -> None:
    """What a command does at the end of a run, here on all the training data."""
    from pyrovae.evaluation.bound import evaluate
    from pyrovae.evaluation.latent_means import codes

    evaluate(training.autoencoder, training.splits.train, training.objective)
    codes(training.autoencoder, training.splits.train)


class Memory:
    """Peaks, in bytes, up to each stage."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.peaks: dict[str, int] = {}

    def look(self, stage: str) -> None:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        self.peaks[stage] = peak if sys.platform == "darwin" else 1024 * peak
        if self.device == "cuda":
            import torch

            self.peaks[f"{stage}, GPU"] = torch.cuda.max_memory_allocated()


def make_clock(device: str) -> Any:
    """An callback that reads the time after steps and after epochs."""
    import torch

    from pyrovae.training.loop import Callback

    class Clock(Callback):
        """Ends the training after some steps or seconds, if it is told to."""

        steps: int | None = None
        seconds = float("inf")

        def __init__(self) -> None:
            self.marks: list[tuple[int, float]] = []
            self.epochs: list[float] = []

        def on_start(self, training: Any) -> None:
            self.started = self.ended_at = self.now()

        def on_step(self, training: Any) -> None:
            if training.step <= WARM_STEPS:
                self.started = self.now()
                return
            # Waiting for a GPU after each step would be timed too.
            if device == "cpu" or training.step - self.last() >= 20:
                self.marks.append((training.step, self.now()))
            enough = self.steps is not None and training.step >= WARM_STEPS + self.steps
            late = len(self.marks) > 5 and self.marks[-1][1] - self.started > self.seconds
            if enough or late:
                training.interrupted = True

        def on_epoch_end(self, training: Any, records: Sequence[Any]) -> None:
            now = self.now()
            self.epochs.append(now - self.ended_at)
            self.ended_at = now

        def now(self) -> float:
            if device == "cuda":
                torch.cuda.synchronize()
            return time.perf_counter()

        def last(self) -> int:
            return self.marks[-1][0] if self.marks else WARM_STEPS

        def median(self) -> float:
            """Seconds per step, between one look at the clock and the next."""
            pairs = zip(self.marks, self.marks[1:], strict=False)
            return statistics.median((t - s) / (to - at) for (at, s), (to, t) in pairs)

        def mean(self) -> float:
            """Seconds per step from the first look to the last."""
            (first, began), (last, ended) = self.marks[0], self.marks[-1]
            return (ended - began) / (last - first)

    return Clock()


def hardware(device: str) -> str:
    import torch

    cores = f"{os.cpu_count()} cores ({platform.machine()}), {torch.get_num_threads()} threads"
    gpu = f"{torch.cuda.get_device_name()}, " if device == "cuda" else ""
    return f"{gpu}{cores}, torch {torch.__version__}"


if __name__ == "__main__":
    main()
