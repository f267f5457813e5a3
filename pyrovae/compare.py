"""``python -m pyrovae.compare``: the command line, nothing else. Imports no torch by itself."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pyrovae.runs.command_line import add_data, command_parser, run, spelled

DESCRIPTION = """\
Compare runs by log p(x) of the same held-out data, in pairs, observation by observation. Beside
each estimate stands by how much it may be too low. Runs that cannot be told apart have no rank."""


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = command_parser("compare", DESCRIPTION)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folders of the runs")
    add_data(parser)
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="where to write (runs/<time>-compare)"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        Exit status: 0, or 2 for an input that cannot work, or 130 if interrupted.
    """
    options = vars(parser().parse_args(arguments))

    def program() -> int:
        from pyrovae.runs.options import CompareOptions

        asked = CompareOptions(**options)
        from pyrovae.report.display import Terminal
        from pyrovae.runs.compare import compare_runs

        compare_runs(asked, spelled("compare", arguments), Terminal())
        return 0

    return run(program)


if __name__ == "__main__":
    sys.exit(main())
