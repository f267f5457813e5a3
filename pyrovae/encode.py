"""``python -m pyrovae.encode``: the command line, nothing else. Imports no torch by itself."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import get_args

from pyrovae.runs.command_line import add_refine_steps, add_results, command_parser, run
from pyrovae.specs.local_inference import Resample

DESCRIPTION = """\
Write the latents of data as a table: of each observation the means of q(z | x), their standard
deviations where these are known, and the label if there is one. Of discrete latents the most
probable value and the probabilities. Columns index and row are the place of the observation in the
split and in the stored data. A file .npy holds the means alone. With --refine-steps or --resample
they are of a better approximation of p(z | x), and a line says what it cost and gained."""


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = command_parser("encode", DESCRIPTION)
    add_results(parser, "latents-<data>-<split>.csv")
    add_refine_steps(parser)
    parser.add_argument(
        "--resample",
        choices=get_args(Resample),
        help="correct the guide: by Pareto-smoothed importance weights, or by chains (mcmc)",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        Exit status: 0, or 2 for an input that cannot work, or 130 if interrupted.
    """
    options = vars(parser().parse_args(arguments))

    def program() -> int:
        from pyrovae.runs.options import EncodeOptions

        asked = EncodeOptions(**options)
        from pyrovae.report.display import Terminal
        from pyrovae.runs.results import encode_run

        encode_run(asked, Terminal())
        return 0

    return run(program)


if __name__ == "__main__":
    sys.exit(main())
