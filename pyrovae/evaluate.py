"""``python -m pyrovae.evaluate``: the command line, nothing else. Imports no torch by itself."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pyrovae.command import add_compile, count, run, spelled

DESCRIPTION = """\
Judge runs on held-out data, the model itself at β = 1: the evidence lower bound with its parts,
and log p(x) by importance sampling from the guide. Datum by datum in RUN/evaluation/."""


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = argparse.ArgumentParser(
        prog="python -m pyrovae.evaluate",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="folder of a run, finished or not"
    )
    add_data(parser)
    return parser


def add_data(parser: argparse.ArgumentParser) -> None:
    """The options about data, and about how log p(x) is had of them."""
    add = parser.add_argument
    add("--data", metavar="NAME|PATH",
        help="a named data set, an array or a folder, of which the test split is used "
        "(the run's own)")  # fmt: skip
    add("--data-root", type=Path, metavar="DIR",
        help="where named data sets lie (where they lay for the run)")  # fmt: skip
    add("--samples", type=count, default=1000, metavar="K", help="codes for each datum (1000)")
    add("--num", type=count, metavar="N", help="use the first N test data only (all)")
    add("--ais", action="store_true",
        help="log p(x) by annealing as well: better, and slower")  # fmt: skip
    add("--device", choices=["auto", "cpu", "cuda"], default="auto")
    add_compile(parser)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        Exit status: 0, or 2 for an input that cannot work, or 130 if interrupted.
    """
    options = parser().parse_args(arguments)

    def program() -> int:
        from pyrovae.judging import evaluate_runs

        return evaluate_runs(options, spelled("evaluate", arguments))

    return run(program)


if __name__ == "__main__":
    sys.exit(main())
