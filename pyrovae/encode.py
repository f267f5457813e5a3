"""``python -m pyrovae.encode``: the command line, nothing else. Imports no torch by itself."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from pyrovae.runs.command_line import add_results, command_parser, run

DESCRIPTION = """\
Write the latents of data as a table: of each observation the means of q(z | x), their standard
deviations where these are known, and the label if there is one. Of discrete latents the most
probable value and the probabilities. Columns index and row are the place of the observation in the
split and in the stored data. A file .npy holds the means alone."""


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = command_parser("encode", DESCRIPTION)
    add_results(parser, "latents-<data>-<split>.csv")
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
        from pyrovae.runs.results import encode_run

        encode_run(asked, Terminal())
        return 0

    return run(program)


if __name__ == "__main__":
    sys.exit(main())
