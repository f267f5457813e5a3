"""``python -m pyrovae.compare``: the command line, nothing else. Imports no torch by itself."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pyrovae.errors import SpecError
from pyrovae.runs.command_line import add_data, run, spelled

DESCRIPTION = """\
Compare runs by log p(x) of the same held-out data, in pairs, datum by datum. Beside each estimate
stands by how much it may be too low; runs that cannot be told apart are not ranked."""


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = argparse.ArgumentParser(
        prog="python -m pyrovae.compare",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folders of the runs")
    add_data(parser)
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="where to write (runs/<time>-compare)"
    )
    return parser


def require_different(runs: Sequence[Path]) -> None:
    """Refuse what is no comparison.

    Raises:
        SpecError: Fewer than two runs, or one of them twice.
    """
    if len(runs) < 2:
        raise SpecError("a comparison needs at least two runs: name another")
    seen: dict[Path, Path] = {}
    for folder in runs:
        first = seen.setdefault(folder.resolve(), folder)
        if first is not folder:
            raise SpecError(f"{first} and {folder} are the same run: name another")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        Exit status: 0, or 2 for an input that cannot work, or 130 if interrupted.
    """
    options = parser().parse_args(arguments)

    def program() -> int:
        require_different(options.runs)
        # The specifications that come with it take longer than help does.
        from pyrovae.specs.run import require_empty

        require_empty(options.output)
        from pyrovae.runs.compare import compare_runs

        return compare_runs(options, spelled("compare", arguments))

    return run(program)


if __name__ == "__main__":
    sys.exit(main())
