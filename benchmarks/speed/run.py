"""Milliseconds per step of this package and its peers, in turns on the same cores.

    python benchmarks/speed/run.py [--problem NAME ...] [--peer NAME ...] [--device cuda]

README.md says how to read what comes out.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

from machine import described
from peers import PEERS, obstacle
from plot import draw
from problems import NAMES, PROBLEMS
from processes import pin
from rounds import measure
from summary import summarise
from table import markdown


def main() -> None:
    options = parser().parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    options.threads = len(pin(options.threads))
    skipped = {peer: obstacle(peer, options.device) for peer in options.peer or PEERS}
    skipped = {peer: reason for peer, reason in skipped.items() if reason is not None}
    for peer, reason in skipped.items():
        print(f"{peer}: {reason}, skipped", flush=True)
    peers = [peer for peer in options.peer or PEERS if peer not in skipped]
    measured: dict[str, Any] = {
        "machine": described(options.device),
        "options": {key: value for key, value in vars(options).items() if key != "output"},
        "skipped": skipped,
        "problems": [],
    }
    for problem in options.problem or NAMES[options.device]:
        report = measure(problem, peers, options)
        report["summary"] = summarise(report, options.device)
        measured["problems"].append(report)
        write(measured, options.output)  # after each, so that nothing is lost
    print(f"\n{markdown(measured)}\n{options.output}: speed.json, speed.md, speed.png")


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    add = parser.add_argument
    add(
        "--problem",
        nargs="+",
        choices=PROBLEMS,
        metavar="NAME",
        help=f"of {', '.join(PROBLEMS)}; by default all that the device is for",
    )
    add(
        "--peer",
        nargs="+",
        choices=PEERS,
        metavar="NAME",
        help=f"of {', '.join(PEERS)}; by default all",
    )
    add("--blocks", type=positive, default=40, metavar="N", help="rounds; 40 by default")
    add(
        "--steps", type=positive, metavar="N", help="in a block; by default about a second of them"
    )
    add(
        "--threads",
        type=positive,
        default=min(2, len(os.sched_getaffinity(0))),
        metavar="N",
        help="and cores; 2 by default",
    )
    add("--device", choices=NAMES, default="cpu")
    add(
        "--spins",
        type=int,
        default=30_000,
        metavar="N",
        help="GOMP_SPINCOUNT of all peers that use OpenMP; 30000 by default",
    )
    add("--data", type=positive, metavar="N", help="other than the problem's 60000, to try it out")
    add("--output", type=Path, default=Path("runs/speed"), metavar="DIR")
    return parser  # fmt: skip


def positive(text: str) -> int:
    """A number of things."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value


def write(measured: dict[str, Any], folder: Path) -> None:
    """Numbers, tables and picture of what there is so far."""
    text = json.dumps(measured, indent=1)
    (folder / "speed.json").write_text(text + "\n", encoding="utf-8")
    (folder / "speed.md").write_text(markdown(measured), encoding="utf-8")
    draw(measured, folder / "speed.png")


if __name__ == "__main__":
    main()
