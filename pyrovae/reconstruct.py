"""``python -m pyrovae.reconstruct``: the command line, nothing else. Imports no torch."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from pyrovae.runs.command_line import add_results, command_parser, run

DESCRIPTION = """\
Write the means of p(x | z) at the means of q(z | x), in the shape of the data and on the scale
that the model sees. In tables x[0,3,4] is one value of the observation; index and row are its
place in the split and in the stored data."""


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = command_parser("reconstruct", DESCRIPTION)
    add_results(parser, "reconstructions-<data>-<split>.npy")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        Exit status: 0, or 2 for an input that cannot work, or 130 if interrupted.
    """
    options = vars(parser().parse_args(arguments))

    def program() -> int:
        from pyrovae.runs.options import ResultsOptions

        asked = ResultsOptions(**options)
        from pyrovae.report.display import Terminal
        from pyrovae.runs.results import reconstruct_run

        reconstruct_run(asked, Terminal())
        return 0

    return run(program)


if __name__ == "__main__":
    sys.exit(main())
