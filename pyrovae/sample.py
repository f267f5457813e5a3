"""``python -m pyrovae.sample``: the command line, nothing else. Imports no torch by itself."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pyrovae.runs.command_line import add_device, add_output, command_parser, count, run, seed

DESCRIPTION = """\
Write draws from p(x): latents from the prior, data given latents, in the shape of the data and on
the scale that the model sees."""


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = command_parser("sample", DESCRIPTION)
    add = parser.add_argument
    add("run", type=Path, metavar="RUN", help="the folder of a run")
    add("--num", type=count, metavar="N", required=True, help="number of draws")
    add("--seed", type=seed, metavar="S", help="seed of the draws (0)")
    add_output(parser, "samples.npy")
    add_device(parser)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        Exit status: 0, or 2 for an input that cannot work, or 130 if interrupted.
    """
    options = vars(parser().parse_args(arguments))

    def program() -> int:
        from pyrovae.runs.options import SampleOptions

        asked = SampleOptions(**options)
        from pyrovae.report.display import Terminal
        from pyrovae.runs.results import sample_run

        sample_run(asked, Terminal())
        return 0

    return run(program)


if __name__ == "__main__":
    sys.exit(main())
