"""Seconds an epoch, in one and in several processes on this machine.

``python benchmarks/scaling.py --data-root DIR`` trains MNIST under torchrun, one thread for each
process: with batches of 128 that are shared (strong scaling), and with 128 observations for each
process (weak). Besides the time of the clock, which other work on the machine lengthens, it prints
that of the processor in the first process, which waits for the others without using any. The
first epoch does not count; an epoch includes its validation.

``torchrun --nproc-per-node 2 benchmarks/scaling.py --sum 700000`` times the sum of a step alone.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch

from pyrovae import Callback, Training
from pyrovae.compute.distributed import join
from pyrovae.training.records import Record

SIZE, EPOCHS = 128, 3
# Processes, and observations in a batch.
CASES = [(1, SIZE), (2, SIZE), (2, 2 * SIZE)]


class Clock(Callback):
    """Writes the time of the clock and of this process at the end of each epoch."""

    def on_epoch_end(self, training: Training, records: Sequence[Record]) -> None:
        """Add a line."""
        with Path("clock").open("a") as file:
            file.write(f"{time.monotonic()} {time.process_time()}\n")


def seconds(processes: int, size: int, words: list[str]) -> tuple[float, float]:
    """Median seconds of the epochs but the first, of the clock and of the processor."""
    here = Path(__file__).parent
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node", str(processes), "-m", "pyrovae.train", "bernoulli", "svi"),
            *("--data", "mnist", "--output", "run", "--device", "cpu", *words),
            *("--set", f"inference.batch_size={size}", "--set", f"inference.epochs={EPOCHS}"),
            *("--import-path", str(here), "--callback", "scaling:Clock"),
        ]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        subprocess.run(command, check=True, capture_output=True, env=environment, cwd=folder)
        lines = (Path(folder) / "clock").read_text().splitlines()
    ends = [[float(each) for each in line.split()] for line in lines]
    wall, used = (
        [after - before for before, after in pairwise(clock)] for clock in zip(*ends, strict=True)
    )
    return statistics.median(wall), statistics.median(used)


def summing(numbers: int, times: int = 200) -> None:
    """In one of the processes: print the milliseconds of a sum of float32 numbers."""
    processes, values = join(), torch.zeros(numbers)
    found = []
    for _ in range(times):
        begun = time.perf_counter()
        processes.add(values)
        found.append(1000 * (time.perf_counter() - begun))
    if processes.is_first:
        print(
            f"sum of {4 * numbers / 1e6:.1f} MB over {processes.size}: "
            f"{statistics.median(found):.2f} ms (median), {min(found):.2f} (least)"
        )


def main() -> None:
    """Print a row for each case; the options that are not known are the command's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sum", type=int, metavar="NUMBERS", help="under torchrun: time a sum")
    options, words = parser.parse_known_args()
    if options.sum is not None:
        summing(options.sum)
        return
    print("processes  batch  seconds an epoch: clock, processor", flush=True)
    for processes, size in CASES:
        wall, used = seconds(processes, size, words)
        print(f"{processes:>9}  {size:>5}  {wall:.2f}, {used:.2f}", flush=True)


if __name__ == "__main__":
    main()
