"""Training on more data than memory: killed, resumed, and against data in memory.

``python benchmarks/larger_than_memory.py 20 --folder DIR`` writes 20 GB of rows to a file, and
trains with no more than 4 GB of memory of its own: two epochs at once, two of which the second is
killed in its middle and repeated after resuming, and two of which the second is stopped there and
gone on with. It prints minutes, peak memory and whether the weights are the same.

``python benchmarks/larger_than_memory.py pairs`` trains on 0.3 GB, mapped and in memory in turn,
and prints the ratio of the times of each pair.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

WIDTH, CHUNK = 1000, 20_000
LIMIT = 4 * 2**30
SETTINGS = {
    "inference.epochs": 2,
    "inference.batch_size": 4000,
    "model.decoder.widths": [16],
    "model.likelihood.kind": "normal",
}


def write(path: Path, rows: int, dtype: type) -> None:
    """Numbers that are smooth along a row and noisy, ``(rows, WIDTH)``, some rows at a time."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(CHUNK, WIDTH))
    with path.open("wb") as file:
        header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": (rows, WIDTH)}
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, rows, CHUNK):
            slope = rng.normal(size=(min(CHUNK, rows - start), 1))
            values = noise[: len(slope)] + slope * np.linspace(-1, 1, WIDTH)
            file.write(values.astype(dtype, copy=False).data)


def epochs(run: Path) -> list[float]:
    """Seconds of training at the end of each epoch so far."""
    records = run / "metrics.jsonl"
    lines = records.read_text().splitlines() if records.exists() else []
    found = map(json.loads, lines)
    return [record["seconds"] for record in found if record["split"] == "train"]


class Command:
    """``python -m pyrovae.train``, which may have so much memory of its own and no more."""

    def __init__(self, *arguments: str) -> None:
        self.begun, self.peak = time.perf_counter(), Counter[str]()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pyrovae.train", *arguments],
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (LIMIT, LIMIT)),
            stdout=subprocess.DEVNULL,
        )

    def wait(self, until: float = float("inf")) -> None:
        """Look at the memory until the end, or until a time."""
        while self.process.poll() is None and time.perf_counter() < until:
            for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
                name, _, value = line.partition(":")
                if name in {"RssAnon", "RssFile", "VmHWM"}:
                    self.peak[name] = max(self.peak[name], int(value.split()[0]) // 1024)
            time.sleep(0.1)

    def report(self, what: str) -> None:
        """Print the time and the peak of the memory."""
        minutes = (time.perf_counter() - self.begun) / 60
        memory = ", ".join(f"{name} {self.peak[name]} MB" for name in sorted(self.peak))
        print(f"{what}: {minutes:.1f} min, at most {memory}", flush=True)


def large(gigabytes: float, folder: str | None) -> None:
    """Train on a large file, twice."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        rows = Path(place) / "rows.npy"
        begun = time.perf_counter()
        write(rows, int(gigabytes * 1e9 / 8 / WIDTH), np.float64)
        print(f"{rows.stat().st_size / 1e9:.1f} GB written in {time.perf_counter() - begun:.0f} s")
        keys = [f"--set={key}={value}" for key, value in SETTINGS.items()]
        weights = set()
        for name, sent in (
            ("whole", None),
            ("killed", signal.SIGKILL),
            ("stopped", signal.SIGTERM),
        ):
            run = Path(place) / name
            command = Command("vae", "svi", "--data", str(rows), "--output", str(run), *keys)
            if sent is not None:
                while command.process.poll() is None and not epochs(run):
                    command.wait(time.perf_counter() + 0.2)
                command.wait(time.perf_counter() + epochs(run)[0] / 2)
                command.process.send_signal(sent)
            command.wait()
            status = command.process.returncode
            command.report(f"{name} (status {status}, {len(epochs(run))} epochs ended)")
            if sent is not None:
                command = Command("--resume", str(run))
                command.wait()
                command.report(f"resumed (status {command.process.returncode})")
            weights.add(hashlib.sha256((run / "weights.safetensors").read_bytes()).hexdigest())
        print("the same weights" if len(weights) == 1 else "OTHER WEIGHTS")


def pairs(count: int = 5) -> None:
    """Print the ratio of the times of an epoch, mapped to in memory, in turn."""
    from pyrovae import build, fit, load_data

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.npy"
        write(path, 75_000, np.float32)
        both = [load_data(np.load(path, mmap_mode=mode)) for mode in ("r", None)]
        for _ in range(count):
            seconds = []
            for data in both:
                vae = build("vae", "svi", data, {"inference.epochs": 1})
                begun = time.perf_counter()
                fit(vae, data, progress=False)
                seconds.append(time.perf_counter() - begun)
            print(
                f"mapped {seconds[0]:.2f} s, in memory {seconds[1]:.2f} s, ratio "
                f"{seconds[0] / seconds[1]:.3f}",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", help="gigabytes, or pairs")
    parser.add_argument("--folder", help="where the file is written")
    chosen = parser.parse_args()
    pairs() if chosen.what == "pairs" else large(float(chosen.what), chosen.folder)


if __name__ == "__main__":
    main()
