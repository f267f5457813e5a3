"""Peak memory and seconds of one epoch over rows in a file, by their number.

``python benchmarks/memory.py 100000 1000000 10000000`` writes that many rows of 8 numbers into a
temporary folder, and trains on them in a process of its own: memory-mapped, and loaded.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

WIDTH, CHUNK = 8, 100_000
SETTINGS = {"inference.epochs": 1, "inference.batch_size": 10_000, "model.decoder.widths": [16]}


def write(path: Path, rows: int) -> None:
    """Standard normal numbers ``(rows, WIDTH)``, some at a time."""
    rng = np.random.default_rng(0)
    array = np.lib.format.open_memmap(path, "w+", np.float32, (rows, WIDTH))
    for start in range(0, rows, CHUNK):
        array[start : start + CHUNK] = rng.normal(size=(min(CHUNK, rows - start), WIDTH))
    array.flush()


def measure(path: str, mode: str) -> None:
    """Train, and print peak memory in MB and seconds."""
    from pyrovae import build, fit, load_data

    begun = time.perf_counter()
    data = load_data(np.load(path, mmap_mode="r" if mode == "mapped" else None))
    fit(build("vae", "svi", data, SETTINGS), data, progress=False)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{peak:.0f} MB, {time.perf_counter() - begun:.0f} s")


def main() -> None:
    """Print a row for each number of rows."""
    print("| rows | data | mapped | loaded |\n|---|---|---|---|")
    for rows in map(int, sys.argv[1:]):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "rows.npy"
            write(path, rows)
            found = [
                subprocess.run(
                    [sys.executable, __file__, str(path), mode],
                    check=True,
                    capture_output=True,
                    text=True,
                ).stdout.strip()
                for mode in ("mapped", "loaded")
            ]
            size = path.stat().st_size / 2**20
            print(f"| {rows} | {size:.0f} MB | {' | '.join(found)} |", flush=True)


if __name__ == "__main__":
    measure(*sys.argv[1:]) if sys.argv[1].endswith(".npy") else main()
