"""``python -m pyrovae.refine``: the command line, nothing else. Imports no torch by itself."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pyrovae.errors import SpecError
from pyrovae.runs.command_line import add_compile, add_device, command_parser, run, spelled
from pyrovae.specs.files import parse_override

if TYPE_CHECKING:
    from pyrovae.runs.options import RefineOptions

DESCRIPTION = """\
Fit a better guide q(z | x) to the model of a run, which stays as it is: on its training data, and
on as many observations, with their latents, as are drawn from the model. Ends when the checks on
data from the model pass, or when the time is up. Writes the folder of a run, which all other
commands take."""

EPILOG = """\
examples:
  python -m pyrovae.refine runs/mine --minutes 5
  python -m pyrovae.refine runs/mine full_rank --until 0.5
  python -m pyrovae.refine runs/mine --set inference.guide.layers=5 --output runs/refined"""


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = command_parser("refine", DESCRIPTION, EPILOG)
    add = parser.add_argument
    add("run", type=Path, metavar="RUN", help="the folder of a run")
    add("inference", nargs="?",
        help="name in inference/, or a TOML file, for another guide (wake_sleep)")  # fmt: skip
    add("--until", type=goal, metavar="GOAL",
        help="end before the time is up: calibrated, KL(p, q) + KL(q, p) in nats, or never "
        "(calibrated)")  # fmt: skip
    add("--minutes", type=float, metavar="M", help="time of the fit (5)")
    add("--set", action="append", metavar="KEY=VALUE", dest="overrides",
        help="override a key of the inference; may be repeated")  # fmt: skip
    add("--data-root", type=Path, metavar="DIR", help="where named data sets lie")
    add("--output", type=Path, metavar="DIR", help="folder of the new run (runs/<time>-...)")
    add_device(parser)
    add_compile(parser)
    return parser


def goal(text: str) -> float | Literal["calibrated"] | None:
    """A goal, as an option's ``type``."""
    if text == "calibrated":
        return "calibrated"
    if text == "never":
        return None
    try:
        nats = float(text)
    except ValueError:
        nats = -1.0
    if not 0 < nats < float("inf"):
        raise argparse.ArgumentTypeError(
            f"'{text}' is no goal: give calibrated, a positive number of nats, or never"
        )
    return nats


def request(options: Mapping[str, Any]) -> RefineOptions:
    """The refinement that is asked for.

    Raises:
        SpecError: A setting that is not allowed, or an option that has no use.
    """
    from pyrovae.runs.options import RefineOptions

    asked = dict(options)
    settings = dict(parse_override(text) for text in asked.pop("overrides", []))
    if other := next((key for key in settings if not key.startswith("inference.")), None):
        raise SpecError(f"--set {other}: the model stays as it is: set keys of inference alone")
    return RefineOptions(**asked, settings=settings)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        Exit status: 0, or 2 for an input that cannot work, or 128 + signal if interrupted.
    """
    options = vars(parser().parse_args(arguments))

    def program() -> int:
        asked = request(options)
        from pyrovae.compute.distributed import joined
        from pyrovae.report.display import Display, Terminal
        from pyrovae.runs.refine import refine_run

        with joined() as processes:
            display = Terminal() if processes.is_first else Display()
            result = refine_run(asked, spelled("refine", arguments), display, processes)
        return 0 if result.signal is None else 128 + result.signal

    return run(program, several=True)


if __name__ == "__main__":
    sys.exit(main())
