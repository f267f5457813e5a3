"""``python -m pyrovae.explore``: the command line, nothing else. Imports no torch by itself."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pyrovae.errors import SpecError, nearest
from pyrovae.exploration.names import LOOKS, TRAINING, USUAL
from pyrovae.runs.command_line import count, fraction, run, spelled, weight

DESCRIPTION = """\
See what the latent space of a fitted run has learned. Writes for each look a picture and its
numbers as JSON, and all of them on one page, report.html."""


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = argparse.ArgumentParser(
        prog="python -m pyrovae.explore",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="what there is to look at:\n"
        + "\n".join(f"  {name:<15} {what}" for name, what in LOOKS.items()),
    )
    add = parser.add_argument
    add("run", type=Path, metavar="RUN", help="the folder of a run")
    add("what", nargs="*", metavar="WHAT", help=f"see below ({' '.join(USUAL)})")
    add("--data", metavar="NAME|PATH", help="other data to look at (the run's own)")
    add("--data-root", type=Path, metavar="DIR", help="where named data sets lie")
    add("--num", type=count, metavar="N", help="how many of the test data (500)")
    add("--datum", type=int, default=0, metavar="N",
        help="traversals: the number of the test datum that is moved (0)")  # fmt: skip
    add("--against", metavar="NAME|PATH", help="outliers: the other data, as for --data")
    add("--samples", type=count, default=200, metavar="K",
        help="outliers, debias: codes for log p(x) of a datum (200)")  # fmt: skip
    add("--betas", type=weight, nargs="+", metavar="β",
        help="ablation: the small, the usual and the large; sweep: all of them")  # fmt: skip
    add("--rare", type=int, nargs="+", default=[], metavar="CLASS",
        help="debias: the classes that are rare, or are made so with --keep")  # fmt: skip
    add("--keep", type=fraction, metavar="SHARE",
        help="debias: share of the training data of these classes that is kept")  # fmt: skip
    add("--epochs", type=count, metavar="N", help="how long twins are trained (as the run was)")
    add("--output", type=Path, metavar="DIR", help="folder to write to (RUN/exploration)")
    add("--device", choices=["auto", "cpu", "cuda"], default="auto")
    return parser


def require_sensible(options: argparse.Namespace) -> None:
    """Refuse what can be seen not to work before anything is loaded.

    Raises:
        SpecError: An unknown look, or an option that is missing or that nothing asks for.
    """
    for name in options.what:
        if name not in LOOKS:
            raise SpecError(f"there is no look '{name}'; {nearest(name, LOOKS)}")
    if "outliers" in options.what and options.against is None:
        raise SpecError("outliers needs other data to compare with: name them with --against")
    uses = {
        "against": ("outliers",),
        "betas": ("ablation", "sweep"),
        "rare": ("debias",),
        "keep": ("debias",),
        "epochs": TRAINING,
    }
    for option, looks in uses.items():
        if getattr(options, option) and not set(looks) & set(options.what):
            raise SpecError(f"--{option} is for {' and '.join(looks)}, which is not asked for")
    if options.keep is not None and not options.rare:
        raise SpecError("--keep needs the classes that it makes rare: name them with --rare")
    trained = [name for name in options.what if name in TRAINING]
    if trained and options.data is not None:
        raise SpecError(
            f"{trained[0]} trains on the data of the run itself: leave --data out, or train a run "
            "on the other data and explore that"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        Exit status: 0, or 2 for an input that cannot work; what could be looked at is written.
    """
    options = parser().parse_args(arguments)

    def work() -> int:
        require_sensible(options)
        from pyrovae.runs.explore import explore

        return explore(options, spelled("explore", arguments))

    return run(work)


if __name__ == "__main__":
    sys.exit(main())
