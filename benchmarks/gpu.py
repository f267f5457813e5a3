"""Everything that waits for a GPU, in one command: `make gpu`.

    python benchmarks/gpu.py [--minutes 9] [--data-root DIR] [--device cuda]

Runs the CUDA tests, the speed table, and published rows, the most important first. Each part has
a deadline, and its result is written when it ends: called again, what is done is skipped, and what
was stopped goes on. A failure does not stop the rest. Nothing is downloaded: MNIST and
Fashion-MNIST must be in DIR. Results are in benchmarks/gpu/DEVICE/: gpu.json and gpu.md.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
ROWS = ("burda-k1", "burda-iwae5", "gated-normal", "gated-vamp", "burda-iwae50", "burda-dreg50",
        "guide-diagonal", "guide-full_rank", "guide-iaf", "guide-spline")  # fmt: skip
GRACE = 15  # seconds in which a training that is stopped writes its state
LEAST = 10  # seconds without which a part is not begun


class Part(NamedTuple):
    """A command, and the share of all the time that it may take."""

    name: str
    command: Sequence[str]
    share: float


def main() -> int:
    options = parser().parse_args()
    device = device_name(options.device)
    if device is None:
        print("torch finds no GPU on this machine: `make gpu` is for one with a GPU")
        return 2
    folder = options.output / device
    folder.mkdir(parents=True, exist_ok=True)
    results = read(folder)
    ends = time.monotonic() + 60 * options.minutes
    for part in parts(options, folder):
        if results.get(part.name, {}).get("outcome") == "done":
            print(f"{part.name}: done before", flush=True)
            continue
        left = ends - time.monotonic() - GRACE
        if left < LEAST:
            print(f"{part.name}: no time is left", flush=True)
            continue
        print(f"{part.name}: {' '.join(part.command[1:])}", flush=True)
        results[part.name] = run(part, min(left, 60 * options.minutes * part.share), folder)
        write(results, folder)  # after each, so that nothing is lost
        print(f"{part.name}: {results[part.name]['outcome']}", flush=True)
    print(table(results))
    return 0 if all(results.get(p.name, {}).get("outcome") == "done"
                    for p in parts(options, folder)) else 1  # fmt: skip


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    add = parser.add_argument
    add("--minutes", type=float, default=9.0, help="for all parts together; 9 by default")
    add("--device", choices=["cuda", "cpu"], default="cuda", help="cpu tries the script out")
    add("--data-root", type=Path, default=Path("data"), help="where MNIST lies")
    add("--output", type=Path, default=ROOT / "benchmarks" / "gpu", metavar="DIR")
    return parser


def device_name(device: str) -> str | None:
    """Name of the device as that of a folder; None if there is none."""
    import torch

    if device == "cpu":
        return "cpu"
    if not torch.cuda.is_available():
        return None
    return re.sub(r"\W+", "-", torch.cuda.get_device_name()).strip("-").lower()


def parts(options: argparse.Namespace, folder: Path) -> list[Part]:
    """What is to be run, the most important first."""
    python, device = sys.executable, ("--device", options.device)
    speed = (python, "benchmarks/speed/run.py", *device, "--blocks", "5",
             "--output", str(folder / "speed"))  # fmt: skip
    published = (python, "benchmarks/published.py", *device, "--images", "1000",
                 "--data-root", str(options.data_root), "--runs", f"runs/{folder.name}",
                 "--results", str(folder / "published.jsonl"))  # fmt: skip
    return [
        Part("tests", (python, "-m", "pytest", "-q", "-m", "cuda", "tests/compute"), 0.3),
        Part("speed", speed, 0.35),
        *(Part(row, (*published, row), 0.35) for row in ROWS),
    ]


def run(part: Part, seconds: float, folder: Path) -> dict[str, Any]:
    """Run a part until its deadline; its output is in a file of its name."""
    begun = time.monotonic()
    log = folder / f"{part.name}.log"
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            part.command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            status = process.wait(seconds)
            outcome = "done" if status == 0 else f"failed with status {status}"
        except BaseException as error:
            stop(process)
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            outcome = "stopped at its deadline"
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return {
        "outcome": outcome,
        "seconds": round(time.monotonic() - begun, 1),
        "last_line": next((line.strip() for line in reversed(lines) if line.strip()), ""),
        "date": time.strftime("%Y-%m-%d"),
    }


def stop(process: subprocess.Popen[Any]) -> None:
    """End a command and what it has started, first so that a training can be gone on with."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)


def read(folder: Path) -> dict[str, Any]:
    file = folder / "gpu.json"
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return found


def write(results: dict[str, Any], folder: Path) -> None:
    (folder / "gpu.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    (folder / "gpu.md").write_text(table(results), encoding="utf-8")


def table(results: dict[str, Any]) -> str:
    """A row for each part that was begun."""
    rows = [
        f"| {name} | {found['outcome']} | {found['seconds']} | {found['date']} | "
        f"{found['last_line'].replace('|', '/')[:200]} |"
        for name, found in results.items()
    ]
    header = "| part | outcome | seconds | date | last line |\n|---|---|---|---|---|\n"
    return header + "".join(f"{row}\n" for row in rows)


if __name__ == "__main__":
    sys.exit(main())
