"""Seconds an epoch, in one and in several processes on this machine.

``python benchmarks/scaling.py --data-root DIR`` trains MNIST under torchrun: with batches of 128
that are shared (strong scaling), and with 128 observations for each process (weak). The first
epoch, in which things are compiled, does not count; an epoch includes its validation.
``torchrun --nproc-per-node 2 benchmarks/scaling.py --sum 700000`` times the sum of a step alone.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

SIZE, EPOCHS = 128, 5
# Processes, threads of each, observations in a batch.
CASES = [(1, 1, SIZE), (1, 2, SIZE), (2, 1, SIZE), (1, 1, 2 * SIZE), (2, 1, 2 * SIZE)]


def seconds(processes: int, threads: int, size: int, words: list[str]) -> list[float]:
    """Seconds of each epoch but the first."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node", str(processes), "-m", "pyrovae.train", "vae", "svi"),
            *("--data", "mnist", "--output", f"{folder}/run", *words),
            *("--set", f"inference.batch_size={size}", "--set", f"inference.epochs={EPOCHS}"),
        ]
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        subprocess.run(command, check=True, capture_output=True, env=environment)
        lines = (Path(folder) / "run/metrics.jsonl").read_text().splitlines()
    done = [line["seconds"] for line in map(json.loads, lines) if line["split"] == "train"]
    return [after - before for before, after in pairwise(done)]


def summing(numbers: int, times: int = 200) -> None:
    """In one of the processes: print the milliseconds of a sum of float32 numbers."""
    import torch

    from pyrovae.compute.distributed import join

    processes, values = join(), torch.zeros(numbers)
    found = []
    for _ in range(times):
        begun = time.perf_counter()
        processes.add(values)
        found.append(1000 * (time.perf_counter() - begun))
    if processes.is_first:
        print(f"sum of {4 * numbers / 1e6:.1f} MB over {processes.size}: "
              f"{statistics.median(found):.2f} ms (median), {min(found):.2f} (least)")  # fmt: skip


def main() -> None:
    """Print a row for each case; the options that are not known are the command's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sum", type=int, metavar="NUMBERS", help="under torchrun: time a sum")
    options, words = parser.parse_known_args()
    if options.sum is not None:
        summing(options.sum)
        return
    print("processes  threads  batch  seconds an epoch (median, least)")
    for processes, threads, size in CASES:
        found = seconds(processes, threads, size, words)
        print(
            f"{processes:>9}  {threads:>7}  {size:>5}  "
            f"{statistics.median(found):.2f}, {min(found):.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
