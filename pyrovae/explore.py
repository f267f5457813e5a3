"""``python -m pyrovae.explore``: the command line, nothing else. Imports no torch by itself."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pyrovae.exploration.names import ANALYSES, SHARED, USUAL
from pyrovae.runs.command_line import (
    add_device,
    add_refine_steps,
    command_parser,
    count,
    fraction,
    run,
    seed,
    spelled,
    weight,
)

DESCRIPTION = """\
See what the latent space of a fitted run has learned. Writes for each analysis a picture and its
numbers as JSON, and all of them on one page, report.html."""


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = command_parser(
        "explore",
        DESCRIPTION,
        epilog="analyses:\n"
        + "\n".join(f"  {name:<15} {what}" for name, what in ANALYSES.items()),
    )
    add = parser.add_argument
    add("run", type=Path, metavar="RUN", help="the folder of a run")
    add("what", nargs="*", metavar="WHAT", help=f"see below ({' '.join(USUAL)})")
    add("--data", metavar="NAME|PATH", help="other data to analyse (the run's own)")
    add("--data-root", type=Path, metavar="DIR", help="where named data sets lie")
    add("--num", type=count, metavar="N", help="number of test observations (500)")
    add("--datum", type=seed, metavar="N",
        help="traversals: index of the test observation that is changed (0)")  # fmt: skip
    add("--against", metavar="NAME|PATH", help="outliers: the other data, as for --data")
    add("--samples", type=count, metavar="K",
        help="outliers, debias: latents for log p(x) of an observation (200)")  # fmt: skip
    add_refine_steps(parser, "outliers: ")
    add("--betas", type=weight, nargs="+", metavar="β",
        help="ablation: the small, the usual and the large; sweep: all of them")  # fmt: skip
    add("--rare", type=int, nargs="+", metavar="CLASS",
        help="debias: the classes that are rare, or are made so with --keep")  # fmt: skip
    add("--keep", type=fraction, metavar="SHARE",
        help="debias: share of the training data of these classes that is kept")  # fmt: skip
    add("--epochs", type=count, metavar="N", help="how long refits are trained (as the run was)")
    add("--output", type=Path, metavar="DIR", help="folder to write to (RUN/exploration)")
    add_device(parser)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        Exit status: 0, or 2 for an input that cannot work; analyses that did work are written.
    """
    options = vars(parser().parse_args(arguments))

    def program() -> int:
        from pyrovae.runs.options import ExploreOptions

        asked = ExploreOptions(**options)
        from pyrovae.compute.distributed import joined
        from pyrovae.report.display import Display, Terminal
        from pyrovae.runs.explore import explore_run

        with joined() as processes:
            display = Terminal() if processes.is_first else Display()
            explore_run(asked, spelled("explore", arguments), display, processes)
        return 0

    what = options.get("what", [])
    return run(program, several=bool(what) and set(what) <= set(SHARED))


if __name__ == "__main__":
    sys.exit(main())
