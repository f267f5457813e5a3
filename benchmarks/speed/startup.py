"""How long one waits for help, for the answer to a mistake, and for a training of two steps.

    python benchmarks/speed/startup.py [--runs N] [--cold] [--output DIR]

Wall time of fresh processes: the first, and the median of all. With --cold the files of the
environment are dropped from the system's page cache before the first one (Linux), as they are
after the machine has started. Then the imports of the training and what each package costs, by
``python -X importtime``. Writes startup.json and startup.md. Bars: 0.5 s, and 12 s for training.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PACKAGES = 12
COMMANDS = ("train", "evaluate", "diagnose", "compare", "explore")
MISTAKES = {
    "train": ["--set", "inference.epoch=1"],
    "evaluate": ["run", "--sampels", "5"],
    "diagnose": ["run", "--fulll"],
    "compare": ["run", "run", "--sampels", "5"],
    "explore": ["run", "traversal"],
}
# The digits have 1257 training data.
TWO_STEPS = ["--set", "inference.epochs=1", "--set", "inference.batch_size=629"]


def main() -> None:
    options = parser().parse_args()
    results = {
        "waits": [wait(*case, options) for case in cases()],
        "imports": imports(),
    }
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "startup.json").write_text(json.dumps(results, indent=1) + "\n")
    text = report(results)
    (options.output / "startup.md").write_text(text)
    print(text)


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    add = parser.add_argument
    add("--runs", type=int, default=5, help="processes for each line (5)")
    add("--cold", action="store_true", help="drop the environment's files from memory first")
    add("--output", type=Path, default=Path("runs/speed"), help="folder (runs/speed)")
    return parser


def cases() -> list[tuple[str, list[str], int, float]]:
    """What is typed, its arguments, the exit status, and the most seconds that it may take."""
    helped = [(name, ["--help"], 0, 0.5) for name in COMMANDS]
    mistaken = [(name, words, 2, 0.5) for name, words in MISTAKES.items()]
    return [*helped, *mistaken, ("train", TWO_STEPS, 0, 12.0)]


def wait(
    command: str, words: list[str], status: int, bar: float, options: argparse.Namespace
) -> dict[str, Any]:
    """Seconds that a command takes, process by process."""
    if options.cold:
        forget_files()
    seconds = []
    for _ in range(options.runs):
        started = time.perf_counter()
        done = run([], command, words)
        seconds.append(time.perf_counter() - started)
        if done.returncode != status:
            sys.exit(f"{command} {words}: status {done.returncode}\n{done.stderr}")
    return {"command": " ".join([command, *words]), "seconds": seconds, "bar": bar}


def run(python: list[str], command: str, words: list[str]) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own and an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        return subprocess.run(
            [sys.executable, *python, "-m", f"pyrovae.{command}", *words],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )


def forget_files() -> None:
    """Drop the environment's files from the page cache; those in use elsewhere stay."""
    for file in Path(sysconfig.get_paths()["purelib"]).rglob("*"):
        if file.is_file():
            descriptor = os.open(file, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def imports() -> list[dict[str, Any]]:
    """Milliseconds spent in the modules of each package by a training of two steps."""
    traced = run(["-X", "importtime"], "train", TWO_STEPS).stderr
    own: Counter[str] = Counter()
    modules: Counter[str] = Counter()
    for line in traced.splitlines():
        fields = line.removeprefix("import time:").split("|")
        if len(fields) == 3 and fields[0].strip().isdecimal():
            package = fields[2].strip().partition(".")[0]
            own[package] += int(fields[0])
            modules[package] += 1
    rows = [
        {"package": name, "ms": microseconds / 1000, "modules": modules[name]}
        for name, microseconds in own.most_common(PACKAGES)
    ]
    total = {"package": "all", "ms": own.total() / 1000, "modules": modules.total()}
    return [*rows, total]


def report(results: dict[str, Any]) -> str:
    """All numbers as Markdown."""
    lines = ["| command | first (s) | median (s) | bar (s) | |", "|---|---:|---:|---:|---|"]
    for found in results["waits"]:
        median = statistics.median(found["seconds"])
        kept = "kept" if median <= found["bar"] else "missed"
        lines.append(
            f"| `{found['command']}` | {found['seconds'][0]:.2f} | {median:.2f} "
            f"| {found['bar']:g} | {kept} |"
        )
    lines += ["", "Imports of the training; each package without what it imports in turn.", ""]
    lines += ["| package | ms | modules |", "|---|---:|---:|"]
    for row in results["imports"]:
        lines.append(f"| {row['package']} | {row['ms']:.0f} | {row['modules']} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
