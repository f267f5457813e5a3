"""``python -m pyrovae.diagnose``: the command line, nothing else. Imports no torch by itself."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pyrovae.runs.command_line import add_compile, add_device, command_parser, count, run, spelled

DESCRIPTION = """\
Say whether the posterior of a fitted run can be trusted: for which data it is wrong, how far, and
what to do about it. Writes report.html, posterior.nc (for az.from_netcdf), numbers and figures."""


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = command_parser("diagnose", DESCRIPTION)
    add = parser.add_argument
    add("run", type=Path, metavar="RUN", help="the folder of a run")
    add("--full", action="store_true",
        help="also anneal, re-optimise and run chains: minutes, announced beforehand")  # fmt: skip
    add("--data", metavar="NAME|PATH", help="other data to diagnose on (the run's own test data)")
    add("--data-root", type=Path, metavar="DIR", help="where named data sets lie")
    add("--num", type=count, metavar="N", help="number of test observations (256)")
    add("--draws", type=count, metavar="S", help="latents drawn for each (1000)")
    add("--strict", action="store_true", help="exit status 1 if a verdict is FAIL")
    add("--output", type=Path, metavar="DIR", help="folder to write to (RUN/diagnosis)")
    add_device(parser)
    add_compile(parser)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        Exit status: 0; 1 with ``--strict`` if a verdict is FAIL; 2 for an input that cannot work.
    """
    options = vars(parser().parse_args(arguments))
    strict = options.pop("strict", False)

    def program() -> int:
        from pyrovae.runs.options import DiagnoseOptions

        asked = DiagnoseOptions(**options)
        from pyrovae.compute.distributed import joined
        from pyrovae.report.display import Display, Terminal
        from pyrovae.runs.diagnose import diagnose_run

        with joined() as processes:
            display = Terminal() if processes.is_first else Display()
            diagnosis = diagnose_run(asked, spelled("diagnose", arguments), display, processes)
        return 1 if strict and diagnosis.grade == "FAIL" else 0

    return run(program, several="full" in options)


if __name__ == "__main__":
    sys.exit(main())
