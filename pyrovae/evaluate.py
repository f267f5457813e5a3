"""``python -m pyrovae.evaluate``: the command line, nothing else. Imports no torch by itself."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pyrovae.runs.command_line import add_data, add_refine_steps, command_parser, run, spelled

DESCRIPTION = """\
Evaluate runs on held-out data, the model itself at β = 1: the evidence lower bound with its parts,
and log p(x) by importance sampling from the guide. Values per observation in RUN/evaluation/."""


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = command_parser("evaluate", DESCRIPTION)
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="folder of a run, finished or not"
    )
    add_data(parser)
    add_refine_steps(parser)
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="folder to write to (RUN/evaluation)"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        Exit status: 0, or 2 for an input that cannot work, or 130 if interrupted.
    """
    options = vars(parser().parse_args(arguments))

    def program() -> int:
        from pyrovae.runs.options import EvaluateOptions

        asked = EvaluateOptions(**options)
        from pyrovae.compute.distributed import joined
        from pyrovae.report.display import Display, Terminal
        from pyrovae.runs.evaluate import evaluate_runs

        with joined() as processes:
            display = Terminal() if processes.is_first else Display()
            evaluate_runs(asked, spelled("evaluate", arguments), display, processes)
        return 0

    return run(program, several=True)


if __name__ == "__main__":
    sys.exit(main())
